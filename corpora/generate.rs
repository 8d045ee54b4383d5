//! Writes the corpora that we ship, always the same bytes: `cargo run --example generate-corpus [FOLDER]`.

mod files;
mod grammar;

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("corpora"), PathBuf::from);
    for (name, text) in files::files() {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}
