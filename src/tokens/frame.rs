//! The special tokens that a tokenizer's file wants around a text.
//!
//! In: ids that stand for a text. Out: the same with `<s>` before and `</s>` behind them, or whatever the file says. The
//! one idea: a text has a frame only when the caller asks for it; training and queries never do.

use crate::tokens::TokenId;

/// What a text is put between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Ids before the text.
    pub(crate) before: Vec<TokenId>,
    /// Ids behind it.
    pub(crate) after: Vec<TokenId>,
    /// The `post_processor` of the `tokenizer.json` that it was read from, to be written again as it was: it may also
    /// say what to do with pairs of texts.
    pub(crate) source: Option<Box<str>>,
}

impl Frame {
    /// Puts `outer` around this.
    pub(crate) fn within(self, outer: Frame) -> Frame {
        Frame {
            before: [outer.before, self.before].concat(),
            after: [self.after, outer.after].concat(),
            source: self.source,
        }
    }
}
