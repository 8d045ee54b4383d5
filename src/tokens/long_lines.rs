//! Whether a line may be cut to be learned from or encoded.
//!
//! In: how a text is taken apart. Out: whether a line has the same parts when it is cut before a space that follows something
//! else than white space. The patterns that are known begin a piece at every such space, whatever is around it, and words
//! end there. Of a regular expression that is not known, and without a pattern a line is one piece.

use crate::text::{LongLines, Normalizer};
use crate::tokens::added::{AddedToken, AddedTokens, SpecialTokens};
use crate::tokens::pretokenize::Pattern;

/// `pattern` is that of a BPE; words have none.
pub(super) fn long_lines(
    pattern: Option<&Pattern>,
    added: &AddedTokens,
    special: SpecialTokens,
    normalizer: Normalizer,
) -> LongLines {
    let is_found = |token: &&AddedToken| special != SpecialTokens::AsText || !token.special;
    // A token with a space in it may lie across the place, and so may the white space that one takes behind it.
    let has_space = |text: &[u8]| text.contains(&b' ');
    let may_cross = |token: &AddedToken| {
        let content = token.content.as_bytes();
        token.rstrip || has_space(content) || has_space(&normalizer.apply(content))
    };
    if pattern.is_none_or(Pattern::is_known) && !added.iter().filter(is_found).any(may_cross) {
        LongLines::Cut
    } else {
        LongLines::Whole
    }
}
