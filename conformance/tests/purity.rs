//! What the crates depend on, and what not. The checks stand in `scripts/check-purity`.

use std::path::Path;
use std::process::Command;

#[test]
fn p46_without_tls_no_c_compiler_is_needed_and_with_it_neither_cmake_nor_an_assembler() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new("scripts/check-purity").current_dir(root).output().unwrap();
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(output.status.success(), "{said}");
}
