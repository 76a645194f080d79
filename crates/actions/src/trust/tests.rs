use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use super::*;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/sh\n\
                      bob:x:1001:1001::/home/bob:/bin/sh\ntorn:x\n";
const GROUP: &str = "root:x:0:\nann:x:1000:\nbob:x:1001:ann\nstaff:x:50:ann,bob\n";

fn trust(uid: u32) -> Trust {
    Trust {
        uid,
        root_uid: 0,
        accounts: Accounts::parse(PASSWD, GROUP),
        trusted: TrustedPaths::default(),
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Returns whether a path is refused, and the place and reason if it is.
fn refused(trust: &Trust, path: &Path) -> Option<(String, String)> {
    let untrusted = trust.check(path).err()?;
    let place = untrusted.place.file_name().unwrap_or_default();
    Some((place.to_string_lossy().into_owned(), untrusted.to_string()))
}

#[test]
fn a_group_is_private_if_nobody_else_is_in_it() {
    let accounts = Accounts::parse(PASSWD, GROUP);
    for (gid, uid, private) in [
        (0, 0, true),
        (1000, 1000, true),
        (1000, 0, false),
        (1001, 1001, false),
        (50, 1000, false),
        (77, 1000, false),
        (1000, 4242, false),
    ] {
        assert_eq!(accounts.is_private(gid, uid), private, "group {gid} of {uid}");
    }
    assert_eq!(accounts.home(1000), Some("/home/ann".into()));
    assert_eq!(accounts.user(1001), Some("bob".to_owned()));
}

#[test]
fn only_what_others_cannot_change_is_trusted() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can make files of another user");
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let own = temp.path().join("own");
    let file = own.join("system.yaml");
    fs::create_dir(&own).unwrap();
    fs::write(&file, "").unwrap();
    // The owner of the file and of its folder, their modes, and the place that is refused.
    for (file_of, file_mode, own_of, own_mode, expect) in [
        ((0, 0), 0o644, (0, 0), 0o755, None),
        ((1000, 1000), 0o644, (1000, 1000), 0o755, None),
        ((1000, 1000), 0o664, (1000, 1000), 0o775, None),
        ((0, 0), 0o644, (1000, 1000), 0o755, None),
        ((1001, 0), 0o600, (1000, 1000), 0o755, Some("system.yaml")),
        ((1000, 1000), 0o646, (1000, 1000), 0o755, Some("system.yaml")),
        ((1000, 50), 0o664, (1000, 1000), 0o755, Some("system.yaml")),
        ((1000, 1000), 0o644, (1001, 1001), 0o755, Some("own")),
        ((1000, 1000), 0o644, (1001, 1001), 0o1777, Some("own")),
        ((1000, 1000), 0o644, (1000, 1000), 0o777, Some("own")),
        ((1000, 1000), 0o644, (1000, 50), 0o775, Some("own")),
        // In a sticky folder only the file's owner can replace it.
        ((1000, 1000), 0o644, (0, 0), 0o1777, None),
        ((1001, 1001), 0o644, (0, 0), 0o1777, Some("system.yaml")),
    ] {
        for (path, (uid, gid), to) in [(&file, file_of, file_mode), (&own, own_of, own_mode)] {
            chown(path, Some(uid), Some(gid)).unwrap();
            mode(path, to);
        }
        let found = refused(&trust(1000), &file);
        let place = found.as_ref().map(|(place, _)| place.as_str());
        assert_eq!(
            place, expect,
            "{file_of:?} {file_mode:o} {own_of:?} {own_mode:o}: {found:?}"
        );
    }
}

#[test]
fn a_link_is_as_safe_as_what_it_leads_to() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can make files of another user");
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let (file, link) = (temp.path().join("file"), temp.path().join("link"));
    fs::write(&file, "").unwrap();
    symlink(&file, &link).unwrap();
    assert_eq!(refused(&trust(0), &link), None);
    chown(&file, Some(1001), None).unwrap();
    let (place, said) = refused(&trust(0), &link).unwrap();
    assert_eq!(place, "file");
    assert!(said.ends_with("belongs to bob (uid 1001)"), "{said}");
}

#[test]
fn a_link_that_another_user_has_planted_on_the_way_is_found() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can make links of another user");
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let path = |name: &str| temp.path().join(name);
    fs::create_dir(path("there")).unwrap();
    symlink("there", path("first")).unwrap();
    symlink("first", path("second")).unwrap();
    symlink("circle", path("circle")).unwrap();
    let found = |name: &str| trust(0).check_links(&path(name)).err().map(|found| found.place);
    for name in ["there", "second/new/folder", "none", "circle/x"] {
        assert_eq!(found(name), None, "{name}");
    }
    std::os::unix::fs::lchown(path("first"), Some(1001), None).unwrap();
    assert_eq!(found("second/new/folder"), Some(path("first")));
    assert_eq!(found("first"), Some(path("first")));
    assert_eq!(found("there"), None);
}

#[test]
fn a_folder_that_is_trusted_covers_all_below_it_until_its_owner_changes() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can make files of another user");
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let (config, shared) = (temp.path().join("config"), temp.path().join("shared"));
    fs::create_dir_all(shared.join("flows")).unwrap();
    chown(&shared, Some(1001), None).unwrap();
    let flow = shared.join("flows/a.yaml");
    assert!(refused(&trust(0), &flow).is_some());

    let mut list = trust(0).list(&config);
    list.add(&shared).unwrap();
    list.write(&config).unwrap();
    let with_list = |uid| {
        let trust = trust(uid);
        let trusted = trust.list(&config);
        Trust { trusted, ..trust }
    };
    assert_eq!(refused(&with_list(0), &flow), None);
    assert!(refused(&with_list(0), &temp.path().join("shared2")).is_none());

    // A list that somebody else can change trusts nothing.
    mode(&config.join("trusted.json"), 0o666);
    assert!(refused(&with_list(0), &flow).is_some());
    assert!(
        with_list(0)
            .list_ignored()
            .unwrap()
            .contains("every user can write")
    );
    mode(&config.join("trusted.json"), 0o600);

    chown(&shared, Some(1000), None).unwrap();
    assert!(refused(&with_list(0), &flow).is_some());
    chown(&shared, Some(1001), None).unwrap();
    assert!(list.remove(&shared));
    list.write(&config).unwrap();
    assert!(refused(&with_list(0), &flow).is_some());
}

#[test]
fn the_content_of_a_folder_is_checked_two_levels_down() {
    let temp = tempfile::tempdir().unwrap();
    let state = temp.path();
    fs::create_dir_all(state.join("log")).unwrap();
    fs::create_dir_all(state.join("blobs")).unwrap();
    let us = Trust::of_this_user(None);
    for (file, refused) in [("key.json", true), ("log/1", true), ("blobs/1", false)] {
        let file = state.join(file);
        fs::write(&file, "").unwrap();
        // Nobody else gets into a private folder, so the modes in it do not count.
        mode(state, 0o700);
        mode(&file, 0o666);
        assert_eq!(us.check_content(state, &["blobs"]), Ok(()));
        mode(state, 0o711);
        mode(&file, 0o644);
        assert_eq!(us.check_content(state, &["blobs"]), Ok(()));
        mode(&file, 0o666);
        assert_eq!(
            us.check_content(state, &["blobs"]).is_err(),
            refused,
            "{}",
            file.display()
        );
        mode(&file, 0o600);
    }
}
