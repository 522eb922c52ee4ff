//! Modules depend on each other in one direction only.

use std::fs;
use std::path::{Path, PathBuf};

/// Lowest first: a module may use those before it and itself.
const ORDER: [&str; 14] = [
    "atomic_file",
    "digest",
    "shell",
    "run_directory",
    "tensor_file",
    "data",
    "model",
    "simulator",
    "evaluation",
    "training",
    "audit",
    "figures",
    "cli",
    "main",
];

fn source_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("source directory") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            source_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// First component below `src/`, without `.rs`.
fn module_of(path: &Path, root: &Path) -> String {
    let relative = path.strip_prefix(root).expect("below src");
    let first = relative.components().next().expect("a name");
    let name = first.as_os_str().to_string_lossy();
    name.trim_end_matches(".rs").to_string()
}

#[test]
fn dependencies_run_downwards() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    source_files(&root, &mut files);
    let rank = |module: &str| ORDER.iter().position(|name| *name == module);
    let mut uses = 0;
    for file in files {
        let module = module_of(&file, &root);
        if module == "lib" {
            continue;
        }
        let own = rank(&module).unwrap_or_else(|| panic!("`{module}` has no place in the order"));
        for part in fs::read_to_string(&file)
            .expect("source")
            .split("crate::")
            .skip(1)
        {
            let used: String = part
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            let other = rank(&used).unwrap_or_else(|| panic!("`{used}` has no place in the order"));
            uses += 1;
            assert!(
                other <= own,
                "{} uses crate::{used}, which is above it",
                file.display()
            );
        }
    }
    assert!(uses > 50, "the search found only {uses} uses");
}

#[test]
fn kernels_know_nothing_of_files_and_configuration() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/src");
    let mut files = Vec::new();
    source_files(&root, &mut files);
    for file in files {
        let text = fs::read_to_string(&file).expect("source");
        for forbidden in ["std::fs", "std::io", "std::path", "serde", "dawn21::"] {
            assert!(!text.contains(forbidden), "{}: {forbidden}", file.display());
        }
    }
}
