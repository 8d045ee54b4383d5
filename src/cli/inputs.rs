//! What is read is never written over, and a model's folder holds nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use wordgrove::files::parent;

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

/// Refuses a file to write in the folder of the model: a folder that holds anything else is never replaced.
pub fn spare_model(model: &Path, flag: &str, output: &Path) -> Outcome {
    let clash = fs::canonicalize(model).is_ok_and(|model| fs::canonicalize(parent(output)).is_ok_and(|at| at == model));
    if clash {
        let (output, model) = (output.display(), model.display());
        return Err(Failure::Usage(format!("{flag}: {output} lies in the model folder {model}: write elsewhere")));
    }
    Ok(())
}
