//! Pieces: the stretches of text that merges may not cross.
//!
//! In: any bytes. Out: the ends of the pieces, which join up to the whole text again. The one idea: the patterns of the
//! field are written out as scanners that look at each character once; each is checked against its regex. Other patterns
//! go through an automaton. All take time that is linear in the text.

mod cl100k;
mod cl100k_masks;
mod class_table;
pub(crate) mod classes;
mod custom;
mod dialect;
mod gpt2;
mod gpt2_masks;
mod o200k;
mod pattern;
mod possessive;
mod windows;

pub(crate) use pattern::LineFeed;
pub use pattern::Pattern;
