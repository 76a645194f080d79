//! Reads fixed little-endian fields from untrusted bytes.

use crate::error::ObjectFault;

/// The bytes that are not read yet.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    whole: usize,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            whole: bytes.len(),
        }
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], ObjectFault> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            let need = (self.whole - self.rest.len()).saturating_add(len);
            return Err(ObjectFault::Truncated {
                have: self.whole as u64,
                need: need as u64,
            });
        };
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], ObjectFault> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, ObjectFault> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, ObjectFault> {
        self.array().map(u64::from_le_bytes)
    }

    /// Checks that no bytes are left.
    pub(crate) fn end(self) -> Result<(), ObjectFault> {
        match self.rest.len() {
            0 => Ok(()),
            extra => Err(ObjectFault::Malformed {
                why: format!("{extra} bytes follow its end"),
            }),
        }
    }
}

/// Checks the magic and the format version that every sealed object begins with.
pub(crate) fn check_head(fields: &mut Fields<'_>, magic: [u8; 8]) -> Result<(), ObjectFault> {
    if fields.array::<8>()? != magic {
        return Err(ObjectFault::BadMagic);
    }
    match fields.u32()? {
        crate::object::FORMAT_VERSION => Ok(()),
        0 => Err(ObjectFault::Malformed {
            why: "its format version is 0".to_owned(),
        }),
        found if found < crate::object::FORMAT_VERSION => Err(ObjectFault::OlderFormat { found }),
        found => Err(ObjectFault::NewerFormat {
            found,
            known: crate::object::FORMAT_VERSION,
        }),
    }
}

/// Returns the plain bytes, of at most `len`. If there is no memory for them, the process aborts, as at any other
/// allocation: stored data that is whole must not seem damaged.
pub(crate) fn decompress(packed: &[u8], len: usize) -> std::io::Result<Vec<u8>> {
    zstd::bulk::decompress(packed, len).inspect_err(|error| {
        if error.kind() == std::io::ErrorKind::OutOfMemory {
            std::process::abort();
        }
    })
}
