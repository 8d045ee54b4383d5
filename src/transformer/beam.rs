//! Beam search: the most probable of the texts that a few hypotheses lead to.
//!
//! In: a scorer, which tells for each hypothesis the log-probability of every next token. Out: the finished hypotheses,
//! best first. The one idea: of all continuations of all hypotheses the best few go on, so a token that looks second best
//! may still win by what follows it. The scorer is told which hypothesis each one continues, so that it can keep caches.

use crate::error::Result;
use crate::tokens::TokenId;

/// How wide and how far is searched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BeamConfig {
    /// How many hypotheses go on, 1 or more; 1 is greedy.
    pub width: usize,
    /// The most tokens of a text, its end mark included.
    pub max_len: usize,
    /// A hypothesis of n tokens is judged by its log-probability / n to this power: 0 prefers short texts, 1 judges by
    /// the mean. Default 1.
    pub length_penalty: f64,
}

/// A text that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hypothesis {
    /// Its tokens, without the end mark.
    pub ids: Vec<TokenId>,
    /// ln P of all its tokens, the end mark included.
    pub log_probability: f64,
    /// What it was judged by.
    pub score: f64,
    /// Whether it came to its end, or ran to `max_len`.
    pub ended: bool,
}

/// One of the hypotheses that go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Continued {
    /// Its place among the hypotheses of the step before; 0 in the first step.
    pub parent: usize,
    /// Its last token; the start mark in the first step.
    pub last: TokenId,
}

/// Searches from `start` to `end`.
///
/// `score` is called once a step with the hypotheses that go on, in order, and gives ln P of every token for each.
///
/// # Errors
/// Those of `score`.
///
/// # Panics
/// When `config` asks for no hypothesis or no token.
pub fn beam_search(
    config: &BeamConfig,
    start: TokenId,
    end: TokenId,
    mut score: impl FnMut(&[Continued]) -> Result<Vec<Vec<f32>>>,
) -> Result<Vec<Hypothesis>> {
    assert!(config.width > 0 && config.max_len > 0, "{config:?}");
    let judge = |log_probability: f64, n_tokens: usize| log_probability / (n_tokens as f64).powf(config.length_penalty);
    let mut going: Vec<(Vec<TokenId>, f64)> = vec![(Vec::new(), 0.0)];
    let mut continued = vec![Continued { parent: 0, last: start }];
    let mut finished: Vec<Hypothesis> = Vec::new();
    for n_tokens in 1..=config.max_len {
        let scores = score(&continued)?;
        assert_eq!(scores.len(), going.len());
        let mut candidates: Vec<(usize, TokenId, f64)> = Vec::new();
        for (parent, (row, (_, so_far))) in scores.iter().zip(&going).enumerate() {
            let mut row: Vec<(TokenId, f64)> =
                row.iter().enumerate().map(|(id, &log_p)| (TokenId(id as u32), so_far + f64::from(log_p))).collect();
            // One more than go on, since one of them may be the end.
            keep_best(&mut row, config.width + 1, |a| (a.1, a.0));
            candidates.extend(row.into_iter().map(|(id, log_p)| (parent, id, log_p)));
        }
        keep_best(&mut candidates, 2 * config.width, |a| (a.2, a.1));
        let mut next = Vec::new();
        continued.clear();
        for (parent, id, log_probability) in candidates {
            if next.len() == config.width {
                break;
            }
            if log_probability == f64::NEG_INFINITY {
                continue;
            }
            let mut ids = going[parent].0.clone();
            if id == end {
                let score = judge(log_probability, n_tokens);
                finished.push(Hypothesis { ids, log_probability, score, ended: true });
            } else {
                ids.push(id);
                next.push((ids, log_probability));
                continued.push(Continued { parent, last: id });
            }
        }
        going = next;
        // Log-probabilities only fall, so what the best that goes on could still reach is known.
        let reachable = going.iter().map(|(_, log_probability)| judge(*log_probability, config.max_len));
        let reachable = match config.length_penalty > 0.0 {
            true => reachable.fold(f64::NEG_INFINITY, f64::max),
            false => going.iter().map(|(_, log_p)| judge(*log_p, n_tokens)).fold(f64::NEG_INFINITY, f64::max),
        };
        finished.sort_by(|a, b| b.score.total_cmp(&a.score));
        finished.truncate(config.width);
        if going.is_empty() || finished.len() == config.width && finished[config.width - 1].score >= reachable {
            break;
        }
    }
    if finished.is_empty() {
        finished.extend(going.into_iter().map(|(ids, log_probability)| {
            let score = judge(log_probability, ids.len());
            Hypothesis { ids, log_probability, score, ended: false }
        }));
        finished.sort_by(|a, b| b.score.total_cmp(&a.score));
    }
    Ok(finished)
}

/// Keeps the `n` largest by value, largest first; equal values by falling id order, smaller ids first.
fn keep_best<T>(items: &mut Vec<T>, n: usize, key: impl Fn(&T) -> (f64, TokenId)) {
    let order = |a: &T, b: &T| {
        let (a, b) = (key(a), key(b));
        b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
    };
    if n < items.len() {
        items.select_nth_unstable_by(n - 1, order);
        items.truncate(n);
    }
    items.sort_unstable_by(order);
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: TokenId = TokenId(0);
    const START: TokenId = TokenId(9);

    /// ln P(next | last) over four tokens; after START as after token 3.
    fn table(last: TokenId) -> Vec<f32> {
        let p: [f32; 4] = match last.0 {
            1 => [0.1, 0.3, 0.3, 0.3],
            2 => [0.9, 0.05, 0.03, 0.02],
            _ => [0.05, 0.5, 0.4, 0.05],
        };
        p.map(f32::ln).to_vec()
    }

    fn search(config: &BeamConfig) -> Vec<Hypothesis> {
        beam_search(config, START, END, |hypotheses| Ok(hypotheses.iter().map(|h| table(h.last)).collect())).unwrap()
    }

    /// Every text of less than `max_len` tokens, judged.
    fn exhaustive(config: &BeamConfig) -> Vec<(Vec<TokenId>, f64)> {
        let mut found = Vec::new();
        let mut open = vec![(Vec::new(), 0.0f64)];
        for n in 1..=config.max_len {
            let mut next = Vec::new();
            for (ids, log_p) in open {
                let row = table(ids.last().copied().unwrap_or(START));
                for (id, &p) in row.iter().enumerate() {
                    let log_p = log_p + f64::from(p);
                    if id == 0 {
                        found.push((ids.clone(), log_p / (n as f64).powf(config.length_penalty)));
                    } else {
                        next.push(([&ids[..], &[TokenId(id as u32)]].concat(), log_p));
                    }
                }
            }
            open = next;
        }
        found.sort_by(|a, b| b.1.total_cmp(&a.1));
        found
    }

    #[test]
    fn width_one_is_greedy_and_a_wider_beam_finds_the_more_probable_text() {
        let config = BeamConfig { width: 1, max_len: 6, length_penalty: 0.0 };
        let greedy = search(&config);
        assert_eq!(greedy[0].ids, [TokenId(1); 6], "after 1 the end is never the most probable");
        assert!(!greedy[0].ended);
        let best = search(&BeamConfig { width: 3, ..config });
        assert_eq!(best[0].ids, [TokenId(2)]);
        assert!(best[0].ended && (best[0].log_probability - f64::ln(0.4 * 0.9)).abs() < 1e-6);
    }

    #[test]
    fn a_beam_as_wide_as_the_tree_finds_what_looking_at_everything_finds() {
        for length_penalty in [0.0, 0.6, 1.0] {
            let config = BeamConfig { width: 600, max_len: 5, length_penalty };
            let (found, expected) = (search(&config), exhaustive(&config));
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found.score - expected.1).abs() < 1e-9);
            }
            assert_eq!(found[0].ids, expected[0].0, "{length_penalty}");
            assert_eq!(search(&BeamConfig { width: 8, ..config })[0].ids, expected[0].0, "{length_penalty}");
        }
    }

    #[test]
    fn the_scorer_is_told_which_hypothesis_each_one_continues() {
        let mut texts: Vec<Vec<TokenId>> = vec![Vec::new()];
        let config = BeamConfig { width: 3, max_len: 4, length_penalty: 1.0 };
        let found = beam_search(&config, START, END, |hypotheses| {
            texts = hypotheses.iter().map(|h| [&texts[h.parent][..], &[h.last]].concat()).collect();
            Ok(hypotheses.iter().map(|h| table(h.last)).collect())
        });
        assert_eq!(found.unwrap(), search(&config));
        assert!(texts.iter().all(|text| text[0] == START && text.len() == 4));
    }

    #[test]
    fn impossible_tokens_are_never_chosen() {
        let config = BeamConfig { width: 4, max_len: 3, length_penalty: 1.0 };
        let only = |hypotheses: &[Continued]| {
            Ok(vec![vec![f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY, f32::NEG_INFINITY]; hypotheses.len()])
        };
        let found = beam_search(&config, START, END, only).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((&found[0].ids[..], found[0].ended), (&[TokenId(1); 3][..], false));
    }
}
