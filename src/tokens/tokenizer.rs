//! The tokenizer: bytes → ids → bytes.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::files::FileBytes;
use crate::text::Normalizer;
use crate::tokens::added::{AddedToken, AddedTokens, SpecialTokens, Stretch};
use crate::tokens::bpe::Bpe;
use crate::tokens::frame::Frame;
use crate::tokens::names::{self, Names};
use crate::tokens::spelling::{escape, unescape};
use crate::tokens::token_table::TokenTable;
use crate::tokens::words::{WordSplit, Words, unknown_spelling};
use crate::tokens::{Pattern, TokenId, byte_alphabet, tokenizer_json};

/// A byte-level BPE, or whole words.
///
/// # Example
/// ```
/// use wordgrove::{Silent, text::Corpus, tokens::{BpeConfig, learn_bpe}};
/// let mut config = BpeConfig::default();
/// config.vocab_size = 259;
/// let tokenizer = learn_bpe(&Corpus::from_text("low lower lowest\n"), &config, &Silent)?;
/// let ids = tokenizer.encode(b"lowest");
/// let pieces: Vec<String> = ids.iter().map(|&id| tokenizer.spelling(id)).collect();
/// assert_eq!(pieces, ["low", "e", "s", "t"]);
/// assert_eq!(tokenizer.decode(&ids)?, b"lowest");
/// # Ok::<(), wordgrove::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tokenizer {
    pub(super) normalizer: Normalizer,
    pub(super) model: Model,
    /// The special tokens around a text that asks for them.
    pub(super) frame: Frame,
    /// Made when first asked for.
    names: OnceLock<Names>,
}

/// A text and its tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EncodedText {
    /// The text that the tokens' places are in: the one that was given, as the normalizer spells it.
    pub text: Vec<u8>,
    /// The tokens, in the order of the text.
    pub tokens: Vec<EncodedToken>,
}

/// A token and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedToken {
    /// Which.
    pub id: TokenId,
    /// Its bytes in [`EncodedText::text`]. The tokens of a BPE follow each other without a gap; between words there may be
    /// gaps. An added token's place includes the white space that it takes; those around the text take none.
    pub range: Range<usize>,
}

/// How pieces become ids.
#[derive(Debug, Clone)]
pub(super) enum Model {
    Bpe(Box<Bpe>),
    Words(Words),
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// As [`from_json`](Tokenizer::from_json); [`Error::Io`].
    pub fn read(path: &Path) -> Result<Tokenizer> {
        Tokenizer::from_json(&FileBytes::open(path)?, path)
    }

    /// Reads the bytes of a `tokenizer.json`, the format of Hugging Face tokenizers; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Format`] for a file that is damaged, and for one that asks for something that is not done here: it is
    /// named, never passed over.
    pub fn from_json(json: &[u8], path: &Path) -> Result<Tokenizer> {
        tokenizer_json::read(json).map_err(|reason| Error::format(path, reason))
    }

    /// The `tokenizer.json`, as text.
    ///
    /// Words that are not UTF-8, which only [`from_words`](Tokenizer::from_words) brings, are written by their
    /// [`spelling`](Tokenizer::spelling).
    pub fn to_json(&self) -> String {
        tokenizer_json::write(self)
    }

    /// A tokenizer of whole words from a word list; row i is word i. Texts are cut at white space.
    ///
    /// # Errors
    /// [`Error::Config`] names a word that is there twice, or says that there are more than 2³² − 2.
    pub fn from_words(words: Vec<Vec<u8>>) -> Result<Tokenizer> {
        Tokenizer::from_word_list(words, None)
    }

    /// As [`from_words`](Tokenizer::from_words), but row 0 is the unknown word, and word i row i + 1: Hugging Face's
    /// tokenizers fail on a word that they don't know when there is no such row.
    ///
    /// # Errors
    /// As [`from_words`](Tokenizer::from_words).
    pub fn from_words_and_unknown(mut words: Vec<Vec<u8>>) -> Result<Tokenizer> {
        let unknown = unknown_spelling(|spelling| words.iter().any(|word| word == spelling.as_bytes()));
        words.insert(0, unknown.into_bytes());
        Tokenizer::from_word_list(words, Some(TokenId(0)))
    }

    fn from_word_list(words: Vec<Vec<u8>>, unknown: Option<TokenId>) -> Result<Tokenizer> {
        if words.len() >= u32::MAX as usize {
            return Err(Error::config("words", format!("{} words are more than there are ids", words.len())));
        }
        let mut table = TokenTable::default();
        for (row, word) in words.iter().enumerate() {
            let number = table.find_or_add(word) as usize;
            if number != row {
                let reason = format!("row {row} repeats the word of row {number}, '{}'", escape(word));
                return Err(Error::config("words", reason));
            }
        }
        let words = Words { words: table, unknown, split: WordSplit::WhiteSpace };
        Ok(Tokenizer::from_word_model(words, Normalizer::default()))
    }

    pub(super) fn from_word_model(words: Words, normalizer: Normalizer) -> Tokenizer {
        Tokenizer { normalizer, model: Model::Words(words), frame: Frame::default(), names: OnceLock::new() }
    }

    pub(super) fn from_bpe(bpe: Bpe, normalizer: Normalizer) -> Tokenizer {
        let model = Model::Bpe(Box::new(bpe));
        Tokenizer { normalizer, model, frame: Frame::default(), names: OnceLock::new() }
    }

    /// Whether tokens are whole words; else they are pieces of a byte-level BPE.
    pub fn is_words(&self) -> bool {
        matches!(self.model, Model::Words(_))
    }

    /// What is done to a text before it is cut.
    pub fn normalizer(&self) -> Normalizer {
        self.normalizer
    }

    /// How a BPE cuts text into pieces; `None` for whole words.
    pub fn pattern(&self) -> Option<&Pattern> {
        match &self.model {
            Model::Bpe(bpe) => Some(&bpe.pattern),
            Model::Words(_) => None,
        }
    }

    /// How many merges a BPE has; 0 for whole words.
    pub fn n_merges(&self) -> usize {
        match &self.model {
            Model::Bpe(bpe) => bpe.merger.pairs.merges().len(),
            Model::Words(_) => 0,
        }
    }

    /// The longest tokens that stand for text, at most `n`; equal lengths by id.
    pub fn longest(&self, n: usize) -> Vec<TokenId> {
        let mut ids: Vec<TokenId> =
            (0..self.n_tokens() as u32).map(TokenId).filter(|&id| !self.is_special(id)).collect();
        ids.sort_by_key(|&id| std::cmp::Reverse(self.bytes(id).len()));
        ids.truncate(n);
        ids
    }

    /// How many ids: `0..n_tokens`. Files of other people may leave some of them [unused](Tokenizer::is_unused).
    pub fn n_tokens(&self) -> usize {
        self.tokens().len()
    }

    /// The ids of a text. A BPE encodes any bytes, and line feeds like other characters; words that are not in the
    /// vocabulary become the unknown word's id, or nothing where there is no such id. Special tokens are text.
    pub fn encode(&self, text: &[u8]) -> Vec<TokenId> {
        self.encode_with(text, SpecialTokens::AsText)
    }

    /// The ids of a text in which special tokens are text or not.
    pub fn encode_with(&self, text: &[u8], special: SpecialTokens) -> Vec<TokenId> {
        // Four bytes are a token, about.
        let mut ids = Vec::with_capacity(text.len() / 4 + 8);
        if special == SpecialTokens::Framed {
            ids.extend_from_slice(&self.frame.before);
        }
        match &self.model {
            Model::Bpe(bpe) => self.for_each_stretch(bpe, text, special, |stretch, text| match stretch {
                Stretch::Token(id, _) => ids.push(id),
                Stretch::Text(range) => bpe.encode(&text[range], &mut ids),
            }),
            Model::Words(words) => {
                words.for_each_id(text, self.normalizer, |id| ids.extend(id.or(words.unknown)));
            }
        }
        if special == SpecialTokens::Framed {
            ids.extend_from_slice(&self.frame.after);
        }
        ids
    }

    /// The ids of many texts, on all threads; in the order of the texts.
    pub fn encode_batch<T: AsRef<[u8]> + Sync>(&self, texts: &[T], special: SpecialTokens) -> Vec<Vec<TokenId>> {
        texts.par_iter().map(|text| self.encode_with(text.as_ref(), special)).collect()
    }

    /// The ids of a text and where each token stands.
    ///
    /// # Example
    /// ```
    /// # use wordgrove::{Tokenizer, tokens::SpecialTokens};
    /// let tokenizer = Tokenizer::from_words(vec![b"the".to_vec(), b"king".to_vec()])?;
    /// let encoded = tokenizer.encode_with_offsets(b"the old king", SpecialTokens::AsText);
    /// assert_eq!(encoded.text, b"the old king");
    /// assert_eq!(encoded.tokens[1].range, 8..12); // `old` is not in the vocabulary
    /// # Ok::<(), wordgrove::Error>(())
    /// ```
    pub fn encode_with_offsets(&self, text: &[u8], special: SpecialTokens) -> EncodedText {
        let mut encoded = EncodedText::default();
        let frame = if special == SpecialTokens::Framed { &self.frame } else { &Frame::default() };
        encoded.tokens.extend(frame.before.iter().map(|&id| EncodedToken { id, range: 0..0 }));
        match &self.model {
            Model::Bpe(bpe) => self.for_each_stretch(bpe, text, special, |stretch, text| {
                let start = encoded.text.len();
                match stretch {
                    Stretch::Token(id, range) => {
                        encoded.text.extend_from_slice(&text[range]);
                        encoded.tokens.push(EncodedToken { id, range: start..encoded.text.len() });
                    }
                    Stretch::Text(range) => {
                        encoded.text.extend_from_slice(&text[range.clone()]);
                        let mut ids = Vec::new();
                        bpe.encode(&text[range], &mut ids);
                        let mut at = start;
                        for id in ids {
                            let end = at + self.bytes(id).len();
                            encoded.tokens.push(EncodedToken { id, range: at..end });
                            at = end;
                        }
                    }
                }
            }),
            Model::Words(words) => {
                encoded.text = words.for_each_word(text, self.normalizer, |id, range| {
                    encoded.tokens.extend(id.or(words.unknown).map(|id| EncodedToken { id, range }));
                });
            }
        }
        let end = encoded.text.len();
        encoded.tokens.extend(frame.after.iter().map(|&id| EncodedToken { id, range: end..end }));
        encoded
    }

    /// Hands the added tokens of a text and what lies between them, normalised, to `stretch`.
    fn for_each_stretch(
        &self,
        bpe: &Bpe,
        text: &[u8],
        special: SpecialTokens,
        mut stretch: impl FnMut(Stretch, &[u8]),
    ) {
        if !bpe.added.finds_any(special) {
            let text = self.normalizer.apply(text);
            return stretch(Stretch::Text(0..text.len()), &text);
        }
        for part in bpe.added.cut_raw(text, special) {
            match part {
                Stretch::Token(..) => stretch(part, text),
                Stretch::Text(range) => {
                    let text = self.normalizer.apply(&text[range]);
                    for part in bpe.added.cut_normalized(&text, special) {
                        stretch(part, &text);
                    }
                }
            }
        }
    }

    /// The ids of a word as it stands inside a sentence: for BPE with the space before it.
    ///
    /// Empty when the vocabulary lacks the word or, where it is cut into several, one of them. A word of the vocabulary
    /// is found as it is spelled there, even if a text would be cut within it.
    pub fn encode_word(&self, word: &str) -> Vec<TokenId> {
        match &self.model {
            Model::Bpe(_) if word.is_empty() => Vec::new(),
            Model::Bpe(_) => self.encode(format!(" {word}").as_bytes()),
            Model::Words(words) => {
                if let Some(id) = words.find(word.as_bytes()).or_else(|| words.find(&unescape(word)?)) {
                    return vec![id];
                }
                let mut ids = Some(Vec::new());
                words.for_each_id(word.as_bytes(), self.normalizer, |id| {
                    ids = ids.take().zip(id).map(|(mut ids, id)| {
                        ids.push(id);
                        ids
                    });
                });
                ids.unwrap_or_default()
            }
        }
    }

    /// The bytes that ids stand for; words with a space between them.
    ///
    /// # Errors
    /// [`Error::Config`] names an id that is not in the vocabulary, or [unused](Tokenizer::is_unused).
    pub fn decode(&self, ids: &[TokenId]) -> Result<Vec<u8>> {
        let tokens = self.tokens();
        let unknown = |place: usize| {
            let id = ids[place].0;
            let reason = match tokens.len() {
                n_tokens if ids[place].index() < n_tokens => "is an id that no token has".to_string(),
                n_tokens => format!("is not one of the {n_tokens} tokens"),
            };
            Error::config("id", format!("{id} (number {} of the ids) {reason}", place + 1))
        };
        if !self.is_words() {
            return tokens.join(ids.iter().map(|id| id.index())).map_err(unknown);
        }
        let mut text = Vec::with_capacity(ids.len() * 8);
        for (place, id) in ids.iter().enumerate() {
            if id.index() >= tokens.len() {
                return Err(unknown(place));
            }
            if place > 0 {
                text.push(b' ');
            }
            text.extend_from_slice(tokens.get(id.index()));
        }
        Ok(text)
    }

    /// The bytes of one token.
    ///
    /// # Panics
    /// When the id is not below [`n_tokens`](Tokenizer::n_tokens); the same holds for all that follow here.
    pub fn bytes(&self, id: TokenId) -> &[u8] {
        self.tokens().get(id.index())
    }

    /// A printable, reversible, unique spelling without spaces: BPE tokens in the byte-level alphabet, words as they are.
    ///
    /// In words, white space and bytes that are not UTF-8 are written `\x20`.
    pub fn spelling(&self, id: TokenId) -> String {
        match &self.model {
            Model::Bpe(_) if self.is_unused(id) => self.unused_spelling(id),
            Model::Bpe(bpe) if bpe.added.get(id).is_none() => byte_alphabet::spell(self.bytes(id)),
            _ => escape(self.bytes(id)),
        }
    }

    /// The token of a spelling.
    pub fn id_of_spelling(&self, spelling: &str) -> Option<TokenId> {
        match &self.model {
            Model::Bpe(bpe) => {
                let plain = byte_alphabet::bytes_of(spelling).and_then(|bytes| bpe.tokens.find(&bytes)).map(TokenId);
                plain.or_else(|| bpe.added.find(&String::from_utf8(unescape(spelling)?).ok()?)).or_else(|| {
                    let id = TokenId(spelling.trim_start_matches('∅').parse().ok()?);
                    let is_it = id.index() < self.n_tokens() && self.is_unused(id) && self.spelling(id) == spelling;
                    is_it.then_some(id)
                })
            }
            Model::Words(words) => unescape(spelling).and_then(|bytes| words.words.find(&bytes)).map(TokenId),
        }
    }

    /// What people call the token, unique: a BPE token without the space it begins with, `##` before a token that
    /// continues a word of that name, see the [module](crate::tokens); a word as it is [spelled](Tokenizer::spelling).
    ///
    /// May hold control characters: escape them before printing.
    pub fn name(&self, id: TokenId) -> Cow<'_, str> {
        match &self.model {
            Model::Bpe(_) => Cow::Borrowed(self.names().get(id)),
            Model::Words(_) => Cow::Owned(self.spelling(id)),
        }
    }

    /// The token of a name.
    pub fn id_of_name(&self, name: &str) -> Option<TokenId> {
        match &self.model {
            Model::Bpe(_) => self.names().find(name),
            Model::Words(_) => self.id_of_spelling(name),
        }
    }

    /// Whether no token has this id, which files of other people may leave out (cl100k has no 100,256). It is a row like
    /// others, but no text is ever encoded to it, and it cannot be decoded.
    pub fn is_unused(&self, id: TokenId) -> bool {
        self.tokens().is_unused(id.index())
    }

    /// `∅` and the number, with more `∅` before it while an added token is called that.
    fn unused_spelling(&self, id: TokenId) -> String {
        let mut spelling = names::unused(id.0);
        while self.added_id(&spelling).is_some() {
            spelling.insert(0, '∅');
        }
        spelling
    }

    /// Ids that stand for no text: the unknown word, added special tokens, [unused](Tokenizer::is_unused) ids.
    pub fn is_special(&self, id: TokenId) -> bool {
        match &self.model {
            Model::Bpe(_) if self.is_unused(id) => true,
            Model::Bpe(bpe) => bpe.added.get(id).is_some_and(|token| token.special),
            Model::Words(words) => words.unknown == Some(id),
        }
    }

    /// This tokenizer with more tokens that stand for no text, behind all others, and the ids of `names`.
    ///
    /// A name that is a special token already keeps its id. One that is the spelling of an ordinary token is put in
    /// angle brackets until it is none. No text is ever encoded to them, except with [`SpecialTokens::Found`].
    ///
    /// # Errors
    /// [`Error::Config`] when there are too many added tokens.
    ///
    /// # Example
    /// ```
    /// # use wordgrove::Tokenizer;
    /// let words = Tokenizer::from_words(vec![b"a".to_vec(), b"<end>".to_vec()])?;
    /// let (marked, ids) = words.with_special_tokens(&["<start>", "<end>"])?;
    /// assert_eq!(ids.iter().map(|&id| marked.spelling(id)).collect::<Vec<_>>(), ["<start>", "<<end>>"]);
    /// assert_eq!(marked.encode(b"a <end>"), words.encode(b"a <end>"));
    /// # Ok::<(), wordgrove::Error>(())
    /// ```
    pub fn with_special_tokens(&self, names: &[&str]) -> Result<(Tokenizer, Vec<TokenId>)> {
        let mut tokens = self.tokens().clone();
        let mut added: Vec<AddedToken> = match &self.model {
            Model::Bpe(bpe) => bpe.added.iter().cloned().collect(),
            Model::Words(_) => Vec::new(),
        };
        let mut ids = Vec::with_capacity(names.len());
        for &name in names {
            if let Some(token) = added.iter().find(|token| token.special && token.content == name) {
                ids.push(TokenId(token.id));
                continue;
            }
            let mut content = name.to_string();
            while tokens.find(content.as_bytes()).is_some() || added.iter().any(|token| token.content == content) {
                content = format!("<{content}>");
            }
            let id = tokens.len() as u32;
            // Hidden from those who look for text.
            tokens.push_hidden(content.as_bytes());
            let (single_word, lstrip, rstrip, normalized) = (false, false, false, false);
            added.push(AddedToken { id, content, single_word, lstrip, rstrip, normalized, special: true });
            ids.push(TokenId(id));
        }
        let marked = match &self.model {
            Model::Bpe(bpe) => {
                let added = AddedTokens::new(added, self.normalizer).map_err(|reason| Error::config("id", reason))?;
                let mut bpe = (**bpe).clone();
                (bpe.tokens, bpe.added) = (tokens, added);
                Tokenizer::from_bpe(bpe, self.normalizer)
            }
            Model::Words(words) => {
                Tokenizer::from_word_model(Words { words: tokens, ..words.clone() }, self.normalizer)
            }
        };
        Ok((marked, ids))
    }

    /// The bytes of all tokens, by id.
    pub(super) fn tokens(&self) -> &TokenTable {
        match &self.model {
            Model::Bpe(bpe) => &bpe.tokens,
            Model::Words(words) => &words.words,
        }
    }

    /// The text of an added token.
    pub(super) fn added_content(&self, id: TokenId) -> Option<&str> {
        match &self.model {
            Model::Bpe(bpe) => bpe.added.get(id).map(|token| token.content.as_str()),
            Model::Words(_) => None,
        }
    }

    /// The added token of a text.
    pub(super) fn added_id(&self, content: &str) -> Option<TokenId> {
        match &self.model {
            Model::Bpe(bpe) => bpe.added.find(content),
            Model::Words(_) => None,
        }
    }

    fn names(&self) -> &Names {
        self.names.get_or_init(|| Names::new(self.tokens()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::progress::Silent;
    use crate::text::Corpus;
    use crate::tokens::{BpeConfig, learn_bpe};

    fn small_bpe() -> Tokenizer {
        let text = "the king and the queen of the kings; 中文 中文字 'tis don't — naïve\r\n".repeat(3);
        let config = BpeConfig { vocab_size: 320, ..BpeConfig::default() };
        learn_bpe(&Corpus::from_text(text), &config, &Silent).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn decoding_gives_any_bytes_back(text in prop::collection::vec(any::<u8>(), 0..400)) {
            let tokenizer = small_bpe();
            prop_assert_eq!(tokenizer.decode(&tokenizer.encode(&text)).unwrap(), text);
        }
    }

    #[test]
    fn special_tokens_stand_behind_all_others_and_are_kept_in_files() {
        let tokenizer = small_bpe();
        let (marked, ids) = tokenizer.with_special_tokens(&["<pad>", "<end>"]).unwrap();
        let n = tokenizer.n_tokens() as u32;
        assert_eq!(ids, [TokenId(n), TokenId(n + 1)]);
        assert!(ids.iter().all(|&id| marked.is_special(id)));
        let text = b"the <pad> king <end>";
        assert_eq!(marked.encode(text), tokenizer.encode(text), "marks in a text are text");
        assert!(marked.encode_with(text, SpecialTokens::Found).contains(&ids[0]));
        let read = Tokenizer::from_json(marked.to_json().as_bytes(), Path::new("t.json")).unwrap();
        assert_eq!((read.n_tokens(), read.encode(text)), (marked.n_tokens(), marked.encode(text)));
        let (again, same) = read.with_special_tokens(&["<end>", "<mask>"]).unwrap();
        assert_eq!((same, again.n_tokens()), (vec![ids[1], TokenId(n + 2)], n as usize + 3));
    }

    #[test]
    fn spellings_and_names_lead_back_to_their_token() {
        let words = [&b"a b"[..], b"a", b"\xE4", b"\\x20", b"", "\u{3000}".as_bytes(), b"\\xE4", b"[UNK]"];
        let words = Tokenizer::from_words(words.map(<[u8]>::to_vec).to_vec()).unwrap();
        for tokenizer in [small_bpe(), words] {
            let mut spellings = hashbrown::HashSet::new();
            for id in (0..tokenizer.n_tokens() as u32).map(TokenId) {
                let spelling = tokenizer.spelling(id);
                assert_eq!(tokenizer.id_of_spelling(&spelling), Some(id), "{spelling}");
                assert_eq!(tokenizer.id_of_name(&tokenizer.name(id)), Some(id), "{spelling}");
                assert!(!spelling.contains(char::is_whitespace));
                assert!(spellings.insert(spelling));
            }
        }
    }

    #[test]
    fn a_word_is_encoded_with_the_space_before_it() {
        let tokenizer = small_bpe();
        let ids = tokenizer.encode_word("king");
        assert_eq!(tokenizer.decode(&ids).unwrap(), b" king");
        assert_eq!(ids, tokenizer.encode(b"the king")[1..]);
        assert_eq!(tokenizer.name(ids[0]), "king");
        assert_eq!(tokenizer.encode_word(""), []);
    }

    #[test]
    fn a_listed_word_is_found_whole_and_an_unknown_one_is_not() {
        let words = ["New York", "new", "u.s.", "york"].map(|word| word.as_bytes().to_vec());
        let tokenizer = Tokenizer::from_words(words.to_vec()).unwrap();
        assert_eq!(tokenizer.encode_word("New York"), [TokenId(0)]);
        assert_eq!(tokenizer.encode_word("New\\x20York"), [TokenId(0)]);
        assert_eq!(tokenizer.encode_word("new york"), [TokenId(1), TokenId(3)]);
        assert_eq!(tokenizer.encode_word("new jersey"), []);
        assert_eq!(tokenizer.encode(b"new jersey york"), [TokenId(1), TokenId(3)]);
        let twice = Tokenizer::from_words(vec![b"a".to_vec(), b"b".to_vec(), b"a".to_vec()]).unwrap_err();
        assert_eq!(twice.to_string(), "words: row 2 repeats the word of row 0, 'a'");
    }

    #[test]
    fn the_longest_tokens_come_first() {
        let words = ["new", "york", "a", "city"].map(|word| word.as_bytes().to_vec());
        let tokenizer = Tokenizer::from_words(words.to_vec()).unwrap();
        assert_eq!(tokenizer.longest(3), [TokenId(1), TokenId(3), TokenId(0)]);
        assert_eq!((tokenizer.pattern(), tokenizer.n_merges()), (None, 0));
        let bpe = small_bpe();
        assert_eq!((bpe.pattern(), bpe.n_merges()), (Some(&Pattern::Gpt2), bpe.n_tokens() - 256));
    }

    #[test]
    fn a_batch_is_encoded_text_by_text() {
        let tokenizer = small_bpe();
        let texts: Vec<String> = (0..100).map(|i| format!("the {i} kings; 中文{i}")).collect();
        let batch = tokenizer.encode_batch(&texts, SpecialTokens::AsText);
        assert!(batch.iter().zip(&texts).all(|(ids, text)| *ids == tokenizer.encode(text.as_bytes())));
        assert_eq!(batch.len(), 100);
    }

    #[test]
    fn tokens_know_their_places() {
        let tokenizer = small_bpe();
        let text = "the king's 中文 — x\n".as_bytes();
        let encoded = tokenizer.encode_with_offsets(text, SpecialTokens::AsText);
        assert_eq!(encoded.text, text);
        let ids: Vec<TokenId> = encoded.tokens.iter().map(|token| token.id).collect();
        assert_eq!(ids, tokenizer.encode(text));
        let mut at = 0;
        for token in &encoded.tokens {
            assert_eq!((token.range.start, &text[token.range.clone()]), (at, tokenizer.bytes(token.id)));
            at = token.range.end;
        }
        assert_eq!(at, text.len());
        let words = Tokenizer::from_words(vec!["中文".into(), "x".into()]).unwrap();
        let encoded = words.encode_with_offsets(" x  y \u{3000}中文".as_bytes(), SpecialTokens::AsText);
        let places: Vec<Range<usize>> = encoded.tokens.into_iter().map(|token| token.range).collect();
        assert_eq!(places, [1..2, 9..15]);
    }

    #[test]
    fn an_id_beyond_the_vocabulary_is_named() {
        // A13
        let tokenizer = small_bpe();
        for id in [tokenizer.n_tokens() as u32, u32::MAX] {
            let error = tokenizer.decode(&[TokenId(0), TokenId(id)]).unwrap_err().to_string();
            assert!(error.contains(&format!("id: {id} (number 2")), "{error}");
        }
    }
}
