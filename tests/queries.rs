//! Questions, through the public names, of small tables whose answers can be seen by eye.

use std::fs;

use wordgrove::Error;
use wordgrove::math::Matrix;
use wordgrove::query::*;
use wordgrove::text::Corpus;
use wordgrove::tokens::{BpeConfig, learn_bpe};
use wordgrove::vectors::{Embeddings, Model, ModelConfig, ReadOptions, open};

fn table(text: &str) -> Embeddings {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    fs::write(&path, text).unwrap();
    open(&path, ReadOptions::default()).unwrap().embeddings
}

/// Sex on the first axis, age on the second, royalty on the third, and on the fourth that all are people.
fn family() -> Embeddings {
    table(
        "man 1 0.1 0 2\nwoman -1 0.1 0 2\nboy 1 -1 0 2\ngirl -1 -1 0 2\nking 1 0.2 3 2\nqueen -1 0.2 3 2\n\
         father 1 1 0 2\nmother -1 1 0 2\nnothing 0 0 0 0\n",
    )
}

fn words(results: &[Neighbor]) -> Vec<&str> {
    results.iter().map(|neighbor| neighbor.word.as_str()).collect()
}

fn ask(embeddings: &Embeddings, expression: &str, method: Method, candidates: Candidates) -> Analogy {
    analogy(embeddings, &Expression::parse(&[expression]).unwrap(), method, candidates).unwrap()
}

#[test]
fn the_nearest_are_the_nearest_by_cosine_and_the_word_itself_is_left_out() {
    let nearest = nearest(&family(), "king", Candidates { k: 3, ..Candidates::default() }).unwrap();
    assert_eq!(words(&nearest.results), ["queen", "man", "father"]);
    assert!((nearest.results[0].cosine - 12.04 / 14.04).abs() < 1e-6);
    assert_eq!(nearest.how, How::Whole);
    let excluded = &nearest.excluded[0];
    assert_eq!((excluded.word.as_str(), excluded.rank), ("king", 1));
    assert!((excluded.cosine - 1.0).abs() < 1e-6);
}

#[test]
fn arithmetic_and_proportions_find_the_planted_word_by_both_methods() {
    let family = family();
    for method in [Method::Add, Method::Mul] {
        for (expression, wanted) in [
            ("father - man + woman", "mother"),
            ("man : woman :: father : ?", "mother"),
            ("king - man + woman", "queen"),
            ("boy : girl :: king : ?", "queen"),
        ] {
            let answer = ask(&family, expression, method, Candidates::default());
            assert_eq!(answer.results[0].word, wanted, "{expression} {method:?}");
            assert_eq!(answer.excluded.len(), 3);
            assert!(answer.results.iter().all(|result| result.score.is_some() == (method == Method::Mul)));
        }
    }
    let included = Candidates { query_words: QueryWords::Include, ..Candidates::default() };
    let answer = ask(&family, "king - man + woman", Method::Add, included);
    assert!(answer.excluded.is_empty() && words(&answer.results).contains(&"king"));
}

#[test]
fn b5_a_row_without_a_direction_is_never_an_answer_and_has_cosine_0() {
    let family = family();
    let all = nearest(&family, "man", Candidates { k: 100, ..Candidates::default() }).unwrap();
    assert_eq!(all.results.len(), 7);
    assert_eq!(similarity(&family, "nothing", "man").unwrap().cosine, 0.0);
    assert_eq!(similarity(&family, "nothing", "nothing").unwrap().cosine, 0.0);
    let nowhere = nearest(&family, "nothing", Candidates { k: 3, ..Candidates::default() }).unwrap();
    assert!(nowhere.results.is_empty(), "all are equally near, so none is an answer");
    let cancelled = ask(&family, "man - man", Method::Add, Candidates::default());
    assert!(cancelled.results.is_empty());
}

#[test]
fn b18_small_tables_give_fewer_answers() {
    for (text, wanted) in [("a 1 0\n", 0), ("a 1 0\nb 1 1\n", 1), ("a 1 0\nb 1 1\nc 0 1\n", 2)] {
        let found = nearest(&table(text), "a", Candidates::default()).unwrap();
        assert_eq!(found.results.len(), wanted);
        assert_eq!(found.excluded[0].rank, 1);
    }
    for k in [0, 1, usize::MAX] {
        let found = nearest(&family(), "man", Candidates { k, ..Candidates::default() }).unwrap();
        assert_eq!(found.results.len(), k.min(7));
    }
}

#[test]
fn equal_cosines_come_in_the_order_of_rows() {
    let equal = table("a 1 0\nb 2 0\nc 0 1\nd 4 0\ne 0.5 0\n");
    let found = nearest(&equal, "a", Candidates { k: 3, ..Candidates::default() }).unwrap();
    assert_eq!(words(&found.results), ["b", "d", "e"]);
    assert_eq!(found.excluded[0].rank, 1);
    let found = nearest(&equal, "d", Candidates { k: 2, ..Candidates::default() }).unwrap();
    assert_eq!((words(&found.results), found.excluded[0].rank), (vec!["a", "b"], 3));
}

#[test]
fn only_the_most_frequent_rows_answer_when_asked_so() {
    let first = Candidates { top_vocab: Some(4), ..Candidates::default() };
    let found = nearest(&family(), "king", first).unwrap();
    assert_eq!(words(&found.results), ["man", "boy", "woman", "girl"]);
    assert!(found.excluded.is_empty(), "the word itself is not among them");
}

#[test]
fn several_words_are_composed_and_marked() {
    let places = table("new 1 0 0\nyork 0 1 0\ncity 1 1 0\nfar 0 0 1\n");
    let found = nearest(&places, "new york", Candidates::default()).unwrap();
    assert_eq!(found.how, How::Composed(vec!["new".to_string(), "york".to_string()]));
    assert_eq!(words(&found.results), ["city", "far"]);
    let ranks: Vec<usize> = found.excluded.iter().map(|excluded| excluded.rank).collect();
    assert_eq!(ranks, [2, 3]);
    let answer = ask(&places, "new york + far", Method::Add, Candidates::default());
    assert_eq!(answer.composed[0].pieces, ["new", "york"]);
    assert!(matches!(lookup(&places, "new delhi"), Err(Error::UnknownWord { word, .. }) if word == "delhi"));
}

#[test]
fn an_unknown_word_is_named_with_near_spellings() {
    let words = table("government 1 0\ngovernor 0 1\nParis 1 1\nthe 1 2\nthee 2 1\n");
    let message = |word: &str| lookup(&words, word).unwrap_err().to_string();
    assert_eq!(message("goverment"), "'goverment' is not in the vocabulary (did you mean government?)");
    assert_eq!(message("paris"), "'paris' is not in the vocabulary (did you mean Paris?)");
    assert_eq!(message("hte"), "'hte' is not in the vocabulary (did you mean the?)");
    assert_eq!(
        message("zzzzzz"),
        "'zzzzzz' is not in the vocabulary; check its spelling, and how words are spelled in the file"
    );
    assert_eq!(message(""), "'' is not in the vocabulary; check its spelling, and how words are spelled in the file");
    let advice = analogy(&words, &Expression::parse(&["Paris-the+thee"]).unwrap(), Method::Add, Candidates::default());
    assert!(advice.unwrap_err().to_string().contains("put spaces around + and -"));
}

#[test]
fn the_odd_one_is_the_one_furthest_from_the_mean() {
    let odd = odd_one_out(&family(), &["man", "boy", "father", "queen"]).unwrap();
    assert_eq!(odd.odd, "queen");
    assert!(odd.words.windows(2).all(|pair| pair[0].cosine <= pair[1].cosine));
    assert!(matches!(odd_one_out(&family(), &["man", "boy"]), Err(Error::Config { .. })));
    assert!(matches!(odd_one_out(&family(), &["man", "boy", "dog"]), Err(Error::UnknownWord { .. })));
}

fn questions(text: &str) -> Result<QuestionSet, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("questions.txt");
    fs::write(&path, text).unwrap();
    QuestionSet::read(&path)
}

#[test]
fn questions_are_counted_by_section_and_in_all() {
    let text = ": family\r\nman woman father mother\r\nMan Woman King Queen\r\n\r\nman woman father queen\r\n\
                : unknown words\r\nman woman uncle aunt\r\n: empty\r\n";
    let set = questions(text).unwrap();
    for method in [Method::Add, Method::Mul] {
        let report = answer(&family(), &set, method, None);
        let tallies: Vec<_> = report
            .sections
            .iter()
            .map(|section| (&section.name[..], section.tally.asked, section.tally.answered, section.tally.correct))
            .collect();
        assert_eq!(tallies, [("family", 3, 3, 2), ("unknown words", 1, 0, 0), ("empty", 0, 0, 0)]);
        assert_eq!((report.total.asked, report.total.answered, report.total.correct), (4, 3, 2));
        assert_eq!((report.total.accuracy, report.total.coverage), (Some(2.0 / 3.0), Some(0.75)));
        assert_eq!(report.total.accuracy_of_all, Some(0.5));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["sections"][0]["correct"], 2);
        assert_eq!(json["sections"][2]["accuracy"], serde_json::Value::Null);
        assert_eq!(json["total"]["answered"], 3);
    }
    let report = answer(&family(), &set, Method::Add, Some(6));
    assert_eq!((report.total.answered, report.total.correct), (1, 1), "father and mother are not among the first six");
}

#[test]
fn an_empty_set_is_answered_0_of_0() {
    for text in ["", "\n\n", ": only a heading\n"] {
        let total = answer(&family(), &questions(text).unwrap(), Method::Add, None).total;
        assert_eq!((total.asked, total.accuracy, total.interval), (0, None, None));
    }
    assert!(questions("a b c\n").unwrap_err().to_string().contains("line 1: expected four words"));
    assert!(questions(": x\na b c d\na b c d e\n").unwrap_err().to_string().contains("line 3"));
}

#[test]
fn a_batch_of_questions_gets_the_answers_that_single_ones_get() {
    // Pseudo-random rows, more than one block of them, and more than one block of questions.
    let mut state = 1u32;
    let mut number = || {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let n_rows = 700;
    let rows: Vec<String> = (0..n_rows)
        .map(|row| format!("w{row} {} {} {} {} {}", number(), number(), number(), number(), number()))
        .collect();
    let table = table(&(rows.join("\n") + "\n"));
    for method in [Method::Add, Method::Mul] {
        let mut lines = vec![": all".to_string()];
        for i in 0..150 {
            let [a, b, c] = [i * 7 % n_rows, (i * 13 + 1) % n_rows, (i * 29 + 2) % n_rows];
            let single =
                ask(&table, &format!("w{b} - w{a} + w{c}"), method, Candidates { k: 1, ..Candidates::default() });
            lines.push(format!("w{a} w{b} w{c} {}", single.results[0].word));
        }
        let report = answer(&table, &questions(&(lines.join("\n") + "\n")).unwrap(), method, None);
        assert_eq!((report.total.asked, report.total.correct), (150, 150), "{method:?}");
    }
}

#[test]
fn pairs_are_correlated_by_rank() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pairs.txt");
    let read = |text: &str| {
        fs::write(&path, text).unwrap();
        WordPairs::read(&path)
    };
    let text = "Word 1\tWord 2\tHuman (mean)\r\n# people\r\nking\tQueen\t9\r\nman\tking\t5\r\nman\tgirl\t1\r\nman\tuncle\t7\r\n";
    let report = correlate(&family(), &read(text).unwrap(), ComposedWords::Include);
    assert_eq!((report.asked, report.answered, report.composed), (4, 3, 0));
    assert_eq!(report.spearman, Some(1.0));
    let none = correlate(&family(), &read("").unwrap(), ComposedWords::Include);
    assert_eq!((none.asked, none.spearman), (0, None));
    assert!(read("a b 1\nc d\n").unwrap_err().to_string().contains("line 2"));
}

#[test]
fn a_word_of_several_tokens_is_the_mean_of_their_rows_and_twins_are_no_answers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    let config = BpeConfig { vocab_size: 275, ..BpeConfig::default() };
    let corpus = Corpus::from_text("mother of mother\nfather of father\n".repeat(9));
    let tokenizer = learn_bpe(&corpus, &config, &wordgrove::Silent).unwrap();
    let mut input = Matrix::zeros(tokenizer.n_tokens(), 3);
    for row in 0..input.n_rows() {
        let angle = row as f32;
        input.row_mut(row).copy_from_slice(&[angle.sin(), angle.cos(), 0.1 * angle]);
    }
    let counts = vec![1; input.n_rows()];
    let config = ModelConfig { dim: 3, tokens: "bpe".into(), ..ModelConfig::default() };
    Model::save(&path, &tokenizer, &input, None, &counts, &config).unwrap();
    let embeddings = open(&path, ReadOptions::default()).unwrap().embeddings;
    let found = lookup(&embeddings, "mothers").unwrap();
    assert_eq!(found.how, How::Composed(vec!["Ġmother".to_string(), "s".to_string()]));
    for i in 0..3 {
        let mean = (input.row(found.rows[0])[i] + input.row(found.rows[1])[i]) / 2.0;
        assert!((found.vector[i] - mean).abs() < 1e-6);
    }
    let all = nearest(&embeddings, "mother", Candidates { k: 1000, ..Candidates::default() }).unwrap();
    assert!(words(&all.results).contains(&"father"));
    assert!(!words(&all.results).iter().any(|word| word.starts_with("##")));
    let json = serde_json::to_value(&all).unwrap();
    let father = json["results"].as_array().unwrap().iter().find(|result| result["word"] == "father").unwrap();
    assert_eq!(father["token"], "Ġfather");
    assert!(matches!(lookup(&embeddings, ""), Err(Error::UnknownWord { .. })));
}

#[test]
fn an_explanation_is_what_the_tree_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    let config = BpeConfig { vocab_size: 275, ..BpeConfig::default() };
    let corpus = Corpus::from_text("mother of mother\nfather of father\n".repeat(9));
    let tokenizer = learn_bpe(&corpus, &config, &wordgrove::Silent).unwrap();
    let n_tokens = tokenizer.n_tokens();
    let matrix = |n_rows: usize, seed: f32| {
        let mut matrix = Matrix::zeros(n_rows, 3);
        for row in 0..n_rows {
            matrix.row_mut(row).iter_mut().enumerate().for_each(|(i, x)| *x = (seed * (3 * row + i) as f32).sin());
        }
        matrix
    };
    let (input, output) = (matrix(n_tokens, 1.7), matrix(n_tokens - 1, 2.3));
    let counts: Vec<u64> = (0..n_tokens as u64).map(|id| id % 11).collect();
    let config = ModelConfig { dim: 3, tokens: "bpe".into(), ..ModelConfig::default() };
    Model::save(&path, &tokenizer, &input, Some(&output), &counts, &config).unwrap();
    let model = Model::open(&path).unwrap();
    let explained = explain(&model, "mothers", None, 4).unwrap();
    let names: Vec<&str> = explained.tokens.iter().map(|token| token.name.as_str()).collect();
    assert_eq!(names, ["mother", "s"]);

    let tree = wordgrove::HuffmanTree::from_counts(&counts).unwrap();
    let bits = |id: usize, context: usize| {
        tree.bits_of(wordgrove::TokenId(id as u32), |node| {
            f64::from(wordgrove::math::dot(input.row(context), output.row(node as usize)))
        })
    };
    for token in &explained.tokens {
        let best = (0..n_tokens)
            .filter(|&row| model.embeddings.is_answer(row))
            .min_by(|&a, &b| bits(token.id, a).total_cmp(&bits(token.id, b)));
        assert_eq!(token.contexts.len(), 4);
        assert_eq!(token.contexts[0].word, model.embeddings.word(best.unwrap()));
        assert_eq!(token.given, token.contexts[0].word);
        assert!((token.bits - bits(token.id, best.unwrap())).abs() < 1e-9);
        assert!(token.contexts.windows(2).all(|pair| pair[0].bits <= pair[1].bits));
        let product: f64 = token.path.iter().map(|branch| branch.probability).product();
        assert!((-product.log2() - token.bits).abs() < 1e-9, "the branches multiply to the whole");
    }
    let given = explain(&model, "mother", Some("father"), 0).unwrap();
    let father = model.embeddings.row_of("father").unwrap();
    assert!((given.tokens[0].bits - bits(given.tokens[0].id, father)).abs() < 1e-9);
    assert!(matches!(explain(&model, "mother", Some("fathers"), 0), Err(Error::Config { .. })));

    Model::save(&path, &tokenizer, &input, None, &counts, &config).unwrap();
    assert!(explain(&Model::open(&path).unwrap(), "mother", None, 4).unwrap_err().to_string().contains("no tree"));
}
