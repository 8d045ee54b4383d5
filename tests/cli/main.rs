//! The program, as people and scripts use it: what it prints, how it ends, and that nothing on disk is lost.
//!
//! The ids behind tests, like A1, name the faults that they are about: A texts, B files of vectors, C disks and crashes,
//! D the command line.

#[path = "../common/mod.rs"]
mod common;

mod checkpoints;
mod export;
mod faults;
mod files;
#[cfg(feature = "transformer")]
mod look;
mod queries;
mod tokenizer;
mod training;
#[cfg(feature = "transformer")]
mod transformer;
mod usage;
