//! Questions to vectors.
//!
//! Every question is asked of [`Embeddings`](crate::vectors::Embeddings), wherever they came from, and answered exactly,
//! by looking at all rows. Answers are plain structs that serialise to the JSON that the program prints.

mod analogy;
mod explain;
mod lookup;
mod neighbors;
mod question_set;
mod similarity;
mod word_pairs;

pub use analogy::{Analogy, Composed, Expression, Method, analogy};
pub use explain::{Branch, Context, ExplainedToken, Explanation, explain};
pub use lookup::{Found, How, lookup, near_spellings};
pub use neighbors::{Candidates, Excluded, Nearest, Neighbor, QueryWords, nearest, nearest_to};
pub use question_set::{QuestionReport, QuestionSet, Section, SectionReport, Tally, answer};
pub use similarity::{Likeness, OddOneOut, Similarity, cosine, odd_one_out, similarity};
pub use word_pairs::{ComposedWords, PairReport, ScoredPair, WordPairs, correlate, spearman};
