//! Keeps the name of the platform that this crate is compiled for, which the `cc` crate wants to know at run time, and embeds the
//! recipes, so that they go where the program goes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=recipes");
    println!("cargo::rustc-env=FAASM_HOST={}", env::var("TARGET")?);

    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("recipes");
    let mut text = String::from("&[\n");
    for folder in entries(&root)? {
        let mut files = Vec::new();
        visit(&folder, &mut files)?;
        writeln!(text, "    ({:?}, &[", name(&root, &folder)?)?;
        for file in files {
            writeln!(text, "        ({:?}, include_bytes!({:?})),", name(&folder, &file)?, file)?;
        }
        text += "    ]),\n";
    }
    text += "]\n";
    fs::write(Path::new(&env::var("OUT_DIR")?).join("recipes.rs"), text)?;
    Ok(())
}

fn visit(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for path in entries(directory)? {
        if path.is_dir() {
            visit(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths =
        fs::read_dir(directory)?.map(|it| it.map(|it| it.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn name<'a>(root: &Path, path: &'a Path) -> Result<&'a str, Box<dyn std::error::Error>> {
    Ok(path.strip_prefix(root)?.to_str().ok_or("the name of a recipe is not UTF-8")?)
}
