//! The folder of one attempt of a step, for what it exchanges with its program. Nobody else may open it, and it goes
//! with the attempt; if the process dies, the next owner of the workspace sweeps it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rekindle_engine::StepContext;
use rekindle_model::failure::Failure;
use rekindle_sources::private;

use crate::failures;
use crate::site::Site;
use crate::step_log;

/// See the module's documentation.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes the folder, empty.
    pub(crate) async fn new(site: &Site, cx: &StepContext) -> Result<Self, Failure> {
        let folder = site.staging_dir(&cx.run.to_string(), &step_log::safe(cx.step.id.as_str()));
        // An earlier attempt may have left its folder.
        rekindle_sources::discard(&folder).await;
        private::create_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
        Ok(Self(folder))
    }

    /// Makes a file in it.
    pub(crate) fn file(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let file = self.0.join(name);
        private::create_new(&file)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| failed(&file, &error))?;
        Ok(file)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "a staging folder stays behind");
        }
    }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    failures::io(&path.display().to_string(), error)
}
