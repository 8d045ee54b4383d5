//! `tokenizer.json`, the format of Hugging Face tokenizers: versions 1.0 and 2.0 are read, 1.0 is written.
//!
//! In: the bytes of such a file. Out: a [`Tokenizer`], and back. The one idea: every part of the file is either honoured
//! or refused by its name; what cannot change any id of a byte-level BPE or a word list is accepted.
//!
//! | part | accepted |
//! |---|---|
//! | `model` | `BPE` in which every byte has a token, without dropout, prefix and suffix; `WordLevel` |
//! | `normalizer` | none, `Lowercase`, `NFC`, `NFKC`, a `Sequence` of a form and then `Lowercase` |
//! | `pre_tokenizer` | for BPE any number of `Split`, `Digits` and `Punctuation` and then `ByteLevel`; for words `Whitespace`, `WhitespaceSplit` |
//! | `decoder` | none, `ByteLevel` |
//! | `added_tokens` | any of up to 1,024 bytes; they are rows |
//! | `post_processor` | `TemplateProcessing`, `BertProcessing`, `RobertaProcessing`, `ByteLevel`, a `Sequence` of them; honoured where a text is encoded with [`SpecialTokens::Framed`](crate::tokens::SpecialTokens) |
//! | `truncation`, `padding` | none |
//!
//! Ids are rows. A file may leave some of them without a token (cl100k's does), but not more than have one; they stay as
//! they are, see [`Tokenizer::is_unused`](crate::tokens::Tokenizer::is_unused).
//!
//! Where other programs see it otherwise:
//! - Ids are those of the file. Hugging Face numbers added tokens that `vocab` has not anew, in the order of the file, and
//!   warns where that changes an id. The files that are written here have no such tokens, or only where it changes none.
//! - An added token that merges make too has the bytes that they make it of; one that nothing makes stands for itself, so
//!   that decoding gives the text that was encoded. Hugging Face reads both in the byte-level alphabet (`Ġzork` → ` zork`).
//! - Special tokens in the `vocab` of words are no words of a text.
//! - A word list whose `unk_token` is not in `vocab` leaves unknown words out, where Hugging Face gives up at the first.

mod merges;
mod model;
mod normalizer;
mod post_processor;
mod read;
#[cfg(test)]
mod sample;
mod splitting;
mod vocab;
mod write;

pub(super) use model::read_gpt2;
pub(super) use read::read;
pub(super) use write::write;
