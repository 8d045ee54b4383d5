//! The tokenizer: bytes → ids → bytes.

use std::path::Path;
use std::sync::OnceLock;

use crate::error::{Error, Result};
use crate::files::FileBytes;
use crate::text::Normalizer;
use crate::tokens::added::{AddedToken, AddedTokens};
use crate::tokens::bpe::Bpe;
use crate::tokens::frame::Frame;
use crate::tokens::names::Names;
use crate::tokens::spelling::{escape, word_of_key};
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
    /// Tokens that are looked for in a text before the model sees it.
    pub(super) added: Box<AddedTokens>,
    /// The special tokens around a text that asks for them.
    pub(super) frame: Frame,
    /// Made when first asked for.
    pub(super) names: OnceLock<Names>,
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
    /// Words stand there as they are. Those that are not UTF-8, which only [`from_words`](Tokenizer::from_words) brings,
    /// are written by their [`spelling`](Tokenizer::spelling) with a space behind it, by which they are known when the
    /// file is read.
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
        Ok(Tokenizer::from_word_model(words, AddedTokens::default(), Normalizer::default()))
    }

    pub(super) fn from_word_model(words: Words, added: AddedTokens, normalizer: Normalizer) -> Tokenizer {
        let (model, added) = (Model::Words(words), Box::new(added));
        Tokenizer { normalizer, model, added, frame: Frame::default(), names: OnceLock::new() }
    }

    pub(super) fn from_bpe(bpe: Bpe, added: AddedTokens, normalizer: Normalizer) -> Tokenizer {
        let (model, added) = (Model::Bpe(Box::new(bpe)), Box::new(added));
        Tokenizer { normalizer, model, added, frame: Frame::default(), names: OnceLock::new() }
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

    /// The bytes of one token.
    ///
    /// # Panics
    /// When the id is not below [`n_tokens`](Tokenizer::n_tokens); the same holds for all that follow here.
    pub fn bytes(&self, id: TokenId) -> &[u8] {
        self.tokens().get(id.index())
    }

    /// Whether no token has this id, which files of other people may leave out (cl100k has no 100,256). It is a row like
    /// others, but no text is ever encoded to it, and it cannot be decoded.
    pub fn is_unused(&self, id: TokenId) -> bool {
        self.tokens().is_unused(id.index())
    }

    /// Ids that stand for no text: the unknown word, added special tokens, [unused](Tokenizer::is_unused) ids.
    pub fn is_special(&self, id: TokenId) -> bool {
        self.is_unused(id) || self.unknown() == Some(id) || self.added.get(id).is_some_and(|token| token.special)
    }

    /// The bytes of all tokens, by id.
    pub(super) fn tokens(&self) -> &TokenTable {
        match &self.model {
            Model::Bpe(bpe) => &bpe.tokens,
            Model::Words(words) => &words.words,
        }
    }

    /// This tokenizer with more tokens that stand for no text, behind all others, and the ids of `names`.
    ///
    /// A name that is a special token already keeps its id. One that is the spelling of an ordinary token is put in
    /// angle brackets until it is none. No text is ever encoded to them, except with
    /// [`SpecialTokens::Found`](crate::tokens::SpecialTokens::Found).
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
        let mut tokenizer = self.clone();
        tokenizer.names = OnceLock::new();
        let mut added: Vec<AddedToken> = self.added.iter().cloned().collect();
        let mut ids = Vec::with_capacity(names.len());
        for &name in names {
            let is_known = |token: &&AddedToken| token.special && token.content == name;
            let known = self.added.find(name).or(added[self.added.len()..].iter().find(is_known));
            if let Some(token) = known.filter(is_known) {
                ids.push(TokenId(token.id));
                continue;
            }
            if self.unknown().is_some_and(|id| self.bytes(id) == name.as_bytes()) {
                ids.extend(self.unknown());
                continue;
            }
            let mut content = name.to_string();
            while self.vocab_id(&content).is_some() || added.iter().any(|token| token.content == content) {
                content = format!("<{content}>");
            }
            let id = tokenizer.n_tokens() as u32;
            // Hidden from those who look for text.
            tokenizer.tokens_mut().push_hidden(content.as_bytes());
            added.push(AddedToken::special(id, content));
            ids.push(TokenId(id));
        }
        let added = AddedTokens::new(added, self.normalizer);
        tokenizer.added = Box::new(added.map_err(|reason| Error::config("special-token", reason))?);
        Ok((tokenizer, ids))
    }

    /// This tokenizer without its added tokens: their ids are unused, but for those that merges make too. What a file wants
    /// around a text goes with them.
    pub fn without_added_tokens(&self) -> Tokenizer {
        let mut tokens = TokenTable::default();
        for (id, bytes) in self.tokens().iter().enumerate() {
            let is_text = self.tokens().find(bytes) == Some(id as u32) || self.unknown() == Some(TokenId(id as u32));
            match is_text {
                true => tokens.push(bytes),
                false => tokens.push_unused(),
            }
        }
        let mut tokenizer = self.clone();
        *tokenizer.tokens_mut() = tokens;
        tokenizer.added = Box::default();
        tokenizer.frame = Frame::default();
        tokenizer.names = OnceLock::new();
        tokenizer
    }

    /// Whether there is nothing to it but a vocabulary, merges, a pattern, and added tokens that a form `knows`; the error
    /// names what more there is.
    pub(super) fn check_bare(&self, knows: impl Fn(&AddedToken) -> bool) -> Result<(), String> {
        const SHOWN: usize = 5;
        let mut more: Vec<String> = Vec::new();
        let unknown: Vec<&str> = self.added.iter().filter(|token| !knows(token)).map(|token| &*token.content).collect();
        if !unknown.is_empty() {
            let dots = if unknown.len() > SHOWN { " …" } else { "" };
            let shown = unknown[..unknown.len().min(SHOWN)].join(" ");
            more.push(format!("added tokens like {shown}{dots}"));
        }
        if !self.normalizer.is_identity() {
            more.push("a normalizer".into());
        }
        if !(self.frame.before.is_empty() && self.frame.after.is_empty()) {
            more.push("a post-processor".into());
        }
        match more.is_empty() {
            true => Ok(()),
            false => Err(format!("has no place for {}: leave it out, or write a tokenizer.json", more.join(", "))),
        }
    }

    /// The token that has this key in the `vocab` of a file.
    pub(super) fn vocab_id(&self, key: &str) -> Option<TokenId> {
        let number = match &self.model {
            Model::Bpe(bpe) => bpe.tokens.find(&byte_alphabet::bytes_of(key)?),
            Model::Words(words) => words.words.find(&word_of_key(key)),
        };
        number.map(TokenId)
    }

    /// The token of all words that are not in the vocabulary.
    pub(super) fn unknown(&self) -> Option<TokenId> {
        match &self.model {
            Model::Bpe(_) => None,
            Model::Words(words) => words.unknown,
        }
    }

    fn tokens_mut(&mut self) -> &mut TokenTable {
        match &mut self.model {
            Model::Bpe(bpe) => &mut bpe.tokens,
            Model::Words(words) => &mut words.words,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::SpecialTokens;
    use crate::tokens::sample::small_bpe;

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
    fn special_tokens_beside_words_are_hidden_also_when_they_are_read_again() {
        let words = ["you", "win", "<end>"].map(|word| word.as_bytes().to_vec());
        let words = Tokenizer::from_words_and_unknown(words.to_vec()).unwrap();
        let (marked, ids) = words.with_special_tokens(&["<pad>", "<end>", "[UNK]"]).unwrap();
        assert_eq!(ids, [4, 5, 0].map(TokenId));
        let text = b"you <pad> <end> zzz <<end>>";
        assert_eq!(marked.encode(text), [1, 0, 3, 0, 0].map(TokenId));
        assert_eq!(marked.encode_with(text, SpecialTokens::Found), [1, 4, 3, 0, 5].map(TokenId));
        let read = Tokenizer::from_json(marked.to_json().as_bytes(), Path::new("t.json")).unwrap();
        assert!(read.is_special(TokenId(4)) && read.is_special(TokenId(5)) && !read.is_special(TokenId(3)));
        assert_eq!(read.encode(text), marked.encode(text));
        assert_eq!(read.encode_with(text, SpecialTokens::Found), marked.encode_with(text, SpecialTokens::Found));
        let (again, same) = read.with_special_tokens(&["<pad>", "[UNK]", "<mask>"]).unwrap();
        assert_eq!((same, again.n_tokens()), ([4, 0, 6].map(TokenId).to_vec(), 7));
        assert_eq!(again.id_of_spelling("<mask>"), Some(TokenId(6)));
    }

    #[test]
    fn special_tokens_are_no_spellings_of_others() {
        let (marked, ids) = small_bpe().with_special_tokens(&["Ġthe", "the", "xyz", "!"]).unwrap();
        let spellings: Vec<String> = ids.into_iter().map(|id| marked.spelling(id)).collect();
        assert_eq!(spellings, ["<Ġthe>", "<the>", "xyz", "<!>"]);
        let read = Tokenizer::from_json(marked.to_json().as_bytes(), Path::new("t.json")).unwrap();
        assert_eq!(read.to_json(), marked.to_json());
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
}
