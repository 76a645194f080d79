//! A backup captures every file of a user, under any name. It leaves out what Rekindle made for a while.

use std::fs;

use rekindle_tests::sandbox::{NOTES, Sandbox};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");
const MARK: &str = "user.rekindle.temporary";

#[test]
fn a_users_file_with_one_of_our_names_is_in_the_backup() {
    let sandbox = Sandbox::with_a_note(BINARY, NOTES, "hello");
    let notes = sandbox.path("data/notes");
    let names = [
        "customer-list.rekindle-new",
        ".rekindle-partial-list",
        ".rekindle-staging-area",
        ".rekindle-before-the-move",
        ".rekindle-partial-a1a1a1a1a1a1a1a1a1a1a1a1",
        ".rekindle-before-0199cccc-0000-7000-8000-000000000001",
    ];
    for name in names {
        fs::write(notes.join(name), name).expect("write a file");
    }
    sandbox.ok(&["backup"]);
    // What has our mark too is ours.
    for name in &names[4..] {
        rustix::fs::setxattr(notes.join(name), MARK, b"1", rustix::fs::XattrFlags::empty()).expect("mark it");
    }
    sandbox.ok(&["recover", "--to", "out"]);
    for name in names {
        assert_eq!(
            fs::read_to_string(sandbox.path("out/notes").join(name)).expect("read it"),
            name
        );
    }
    sandbox.ok(&["backup"]);
    sandbox.ok(&["recover", "--to", "again"]);
    let again = |name: &str| sandbox.path("again/notes").join(name).exists();
    assert!(names[..4].iter().all(|name| again(name)));
    assert!(!names[4..].iter().any(|name| again(name)));
    // An ordinary name with the mark is the user's.
    let mark =
        |path: &str| rustix::fs::setxattr(notes.join(path), MARK, b"1", rustix::fs::XattrFlags::empty());
    mark("a.md").expect("mark it");
    sandbox.ok(&["backup"]);
    sandbox.ok(&["recover", "--to", "third"]);
    assert_eq!(
        fs::read_to_string(sandbox.path("third/notes/a.md")).expect("read it"),
        "hello"
    );
    assert!(rustix::fs::getxattr(sandbox.path("third/notes/a.md"), MARK, &mut [0; 4]).is_err());
}
