//! What is read is never written over.

use std::fs;
use std::path::{Path, PathBuf};

use super::failure::{Failure, Outcome};

/// Refuses a file to write that is one of the texts to read, or lies in a folder of them.
///
/// `flag` is what named the file. A file that isn't there yet, and a device, can be no text.
pub fn spare(inputs: &[PathBuf], flag: &str, output: &Path) -> Outcome {
    let Ok(target) = fs::canonicalize(output) else { return Ok(()) };
    if !target.is_file() {
        return Ok(());
    }
    let clash = inputs.iter().any(|input| fs::canonicalize(input).is_ok_and(|input| target.starts_with(input)));
    if clash {
        let output = output.display();
        return Err(Failure::Usage(format!(
            "{flag}: {output} is one of the texts to read, and would be lost: write elsewhere"
        )));
    }
    Ok(())
}
