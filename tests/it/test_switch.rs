//! The one test switch of the product, which can end the agent in the midst of things: a binary that was built without
//! its cargo feature, as every release is, does not know of it.

use std::process::Command;

#[test]
fn a_binary_knows_the_test_switch_only_with_the_feature_that_brings_it() {
    let looked = Command::new("grep")
        .args(["--quiet", "--text", "--fixed-strings", "HOMEPORT_FAULT", env!("CARGO_BIN_EXE_homeport")])
        .status()
        .unwrap();
    let expected = if cfg!(feature = "fault-points") { 0 } else { 1 };
    assert_eq!(looked.code(), Some(expected));
}
