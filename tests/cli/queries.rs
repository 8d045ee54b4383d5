//! Here belongs: what the verbs that ask print, and what they refuse.

use std::io::Read;
use std::process::Stdio;

use crate::common::{Home, Ran};

/// Four words on a plane, as word2vec text, binary, and GloVe text.
fn with_files() -> Home {
    let home = Home::with_model();
    home.write("v.txt", "5 2\nking 1 0.1\nqueen 0.9 0.3\nman 0.1 1\nwoman 0 0.9\ncity -1 -1\n");
    home.say("convert v.txt v.bin -q").done();
    home.write("v.glove", "king 1 0.1\nqueen 0.9 0.3\nman 0.1 1\nwoman 0 0.9\ncity -1 -1\n");
    home
}

const KINDS: [&str; 4] = ["model", "v.txt", "v.bin", "v.glove"];

fn keys(value: &serde_json::Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn every_verb_asks_a_model_and_any_file_of_vectors() {
    let home = with_files();
    for kind in KINDS {
        for verb in [
            "nearest KIND king -k 2",
            "nearest KIND king man",
            "analogy KIND king - man + woman",
            "analogy KIND man : woman :: king : ?",
            "analogy KIND king - man + woman --method mul",
            "similarity KIND king queen",
            "odd-one-out KIND king queen man",
            "info KIND",
        ] {
            let ran = home.say(&verb.replace("KIND", kind)).done();
            assert!(!ran.out.is_empty() && ran.err.is_empty(), "{verb} {kind}: {}", ran.err);
            home.say(&format!("{} --json", verb.replace("KIND", kind))).json();
        }
    }
    let texts: Vec<String> = KINDS[1..].iter().map(|kind| home.say(&format!("nearest {kind} king")).text()).collect();
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
}

#[test]
fn answers_in_json_have_the_promised_keys() {
    let home = with_files();
    for kind in KINDS {
        for question in ["nearest KIND king -k 2 --json", "analogy KIND king - man + woman -k 2 --json"] {
            let found = home.say(&question.replace("KIND", kind)).json();
            assert!(found["query"].as_str().is_some_and(|query| query.starts_with("king")), "{found}");
            let results = found["results"].as_array().unwrap();
            assert_eq!(results.len(), 2);
            for result in results {
                assert!(result["word"].is_string() && result["cosine"].is_number(), "{result}");
            }
        }
    }
    let found = home.say("similarity v.txt king queen --json").json();
    assert!((found["cosine"].as_f64().unwrap() - 0.9762).abs() < 1e-3, "{found}");
    assert_eq!(home.say("odd-one-out v.txt king queen city --json").json()["odd"], "city");
    assert_eq!(home.say("info v.txt --json").json()["vectors"], 5);
    let model = home.say("info model --json").json();
    assert_eq!((&model["kind"], &model["checksums"]), (&"model".into(), &"intact".into()));
}

#[test]
fn an_analogy_prints_what_was_computed_and_where_its_words_would_stand() {
    let home = with_files();
    let ran = home.say("analogy v.txt man : woman :: king : ? -k 1").done().text();
    assert!(ran.starts_with("king - man + woman\n"), "{ran}");
    assert!(ran.contains("queen"), "{ran}");
    assert_eq!(ran.matches("would be rank").count(), 3, "{ran}");
    let one_argument = home.run(&["analogy", "v.txt", "king - man + woman", "-k", "1"]).done().text();
    assert_eq!(one_argument, ran);
    let included = home.say("analogy v.txt king - man + woman --include-query").done().text();
    assert!(!included.contains("would be rank"), "{included}");
}

#[test]
fn a_question_that_is_none_is_wrong_usage() {
    let home = with_files();
    for question in ["king -", "king man", "king + ", ": : :", "- + -"] {
        home.refuses(&format!("analogy v.txt {question}"), 2, &[]);
    }
}

#[test]
fn an_unknown_word_comes_with_near_spellings_and_advice() {
    let home = with_files();
    for kind in KINDS {
        home.refuses(&format!("nearest {kind} kingg"), 3, &["'kingg'", "did you mean king"]);
        home.refuses(&format!("nearest {kind} xylophone"), 3, &["'xylophone' is not in the vocabulary"]);
        home.refuses(&format!("analogy {kind} king - mann + woman"), 3, &["'mann'", "did you mean man"]);
        home.refuses(&format!("similarity {kind} king qeen"), 3, &["'qeen'", "did you mean queen"]);
        home.refuses(&format!("odd-one-out {kind} king queen wmoan"), 3, &["'wmoan'", "woman"]);
        home.run(&["nearest", kind, ""]).refused(3, &["''"]);
    }
    home.refuses("nearest model xylophone", 3, &["--min-count", "--tokens bpe"]);
    home.refuses("nearest v.txt xylophone", 3, &["check its spelling"]);
}

#[test]
fn a_word_of_several_pieces_is_marked_so() {
    let home = Home::with_text();
    home.say("train text.txt -o model --vocab-size 300 --dim 8 --quiet").done();
    let found = home.say("nearest model kingfatherqueen -k 3").done().text();
    assert!(found.contains("kingfatherqueen is composed of"), "{found}");
    home.run(&["nearest", "model", "完全に未知"]).done();
}

#[test]
fn small_tables_give_the_answers_they_have() {
    // B18
    let home = Home::empty();
    home.write("one.txt", "1 2\nking 1 0\n");
    home.write("two.txt", "2 2\nking 1 0\nqueen 1 1\n");
    assert!(home.say("nearest one.txt king").done().text().contains("no answer"));
    assert_eq!(home.say("nearest one.txt king --json").json()["results"].as_array().unwrap().len(), 0);
    assert_eq!(home.say("nearest two.txt king -k 10 --json").json()["results"].as_array().unwrap().len(), 1);
    assert_eq!(home.say("analogy two.txt king - queen + king --json").json()["results"].as_array().unwrap().len(), 0);
    let many = home.say("nearest two.txt king -k 18446744073709551615 --json").json();
    assert_eq!(many["results"].as_array().unwrap().len(), 1);
    home.write("none.txt", "0 2\n");
    let ran = home.say("nearest none.txt king");
    assert!(ran.code == Some(3) && ran.err.starts_with("error: "), "{:?} {}", ran.code, ran.err);
}

#[test]
fn words_cannot_steer_the_terminal() {
    // D9
    let home = Home::empty();
    home.write("v.txt", "4 2\nking 1 0\n\x1b[31mred\x07 1 0.1\n\u{9b}2J 1 0.2\n\u{202e}rtl 1 0.3\n");
    let found = home.say("nearest v.txt king").done();
    assert!(!found.out.iter().any(|byte| matches!(byte, 0x1b | 0x07)), "{}", found.text());
    assert!(!found.text().contains(['\u{9b}', '\u{202e}']), "{}", found.text());
    assert!(found.text().contains("\\u{1b}[31mred"), "{}", found.text());
    home.write("e\x1b[31m.txt", home.read("v.txt"));
    assert!(!home.run(&["info", "e\x1b[31m.txt"]).done().out.contains(&0x1b));
    for flag in ["--analogies", "--pairs"] {
        home.write("set\x1b[31m", if flag == "--pairs" { "king king 1\n" } else { ": \x1b[31m\n" });
        assert!(!home.run(&["evaluate", "v.txt", flag, "set\x1b[31m"]).done().out.contains(&0x1b), "{flag}");
    }
    for question in [&["nearest", "v.txt", "\x1b[31mno"][..], &["nearest", "\x1b]0;x\x07", "king"]] {
        let ran = home.run(question);
        assert!(ran.code != Some(0) && !ran.err.contains(['\x1b', '\x07']), "{:?}", ran.err);
    }
    let json = home.say("nearest v.txt king --json").done();
    assert!(!json.out.contains(&0x1b), "JSON escapes by itself");
    assert!(home.run(&["similarity", "v.txt", "king", "\x1b[31mred\x07"]).done().text().contains("\\u{1b}"));
}

#[test]
fn questions_on_standard_input_are_answered_one_by_one() {
    // D7: and when they end, so does the program.
    let home = with_files();
    let ask = |input: &[u8]| home.run_with_input(&["nearest", "v.txt", "-k", "1", "--json"], input);
    let count = |ran: &Ran| ran.text().lines().count();
    assert_eq!(count(&ask(b"king\n\nqueen\r\nman").done()), 3);
    assert_eq!(count(&ask(b"").done()), 0);
    let ran = ask(b"king\nxylophone\ncaf\xe9\nqueen\n");
    assert_eq!((ran.code, count(&ran)), (Some(3), 2), "{}", ran.err);
    assert_eq!(ran.err.matches("error: ").count(), 2, "{}", ran.err);
    assert_eq!(ran.err.matches("'xylophone'").count(), 1, "{}", ran.err);
    let ran = home.run_with_input(&["analogy", "v.txt", "-k", "1"], "king - man + woman\nman : woman :: king : ?\n");
    assert_eq!(ran.done().text().matches("king - man + woman\n").count(), 2);
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    // D6
    let home = Home::with_model();
    let lines = home.shell("yes king | head -n 3000 | $WORDGROVE nearest model 2>err | head -n 1; cat err").done();
    assert_eq!(lines.text(), "nearest to king\n");
    for arguments in ["nearest model king", "info model", "--help", "info model --json", "train --help"] {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let mut child = home.command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn an_evaluation_in_json_has_the_promised_keys() {
    let home = with_files();
    home.write("questions", ": royal\nman woman king queen\nman woman king city\nman woman king xylophone\n");
    home.write("pairs", "king queen 9\nman city 1\nking man 3\nman xylophone 2\n");
    for kind in KINDS {
        let arguments = format!("evaluate {kind} --analogies questions --pairs pairs --analogies questions --json");
        let found = home.say(&arguments).json();
        assert_eq!(keys(&found), ["analogies", "pairs"]);
        assert_eq!(found["analogies"].as_array().unwrap().len(), 2);
        let questions = &found["analogies"][0];
        assert_eq!(questions["file"], "questions");
        assert_eq!(questions["sections"][0]["name"], "royal");
        for tally in [&questions["sections"][0], &questions["total"]] {
            assert_eq!(tally["asked"], 3, "{kind}: {tally}");
            assert!(tally["correct"].as_u64().unwrap() <= tally["answered"].as_u64().unwrap(), "{tally}");
        }
        assert!(questions["total"]["accuracy"].is_number(), "{questions}");
        let pairs = &found["pairs"][0];
        assert_eq!((&pairs["file"], &pairs["asked"]), (&"pairs".into(), &4.into()));
        assert!(pairs["spearman"].is_number(), "{pairs}");
    }
    let found = home.say("evaluate v.txt --analogies questions --json").json();
    assert_eq!(found["analogies"][0]["total"]["answered"], 2);
    assert_eq!(found["analogies"][0]["total"]["accuracy"], 0.5);
}

#[test]
fn an_empty_set_of_questions_is_nought_of_nought() {
    let home = with_files();
    home.write("empty", "");
    home.write("heading", ": royal\n");
    for file in ["empty", "heading"] {
        let found = home.say(&format!("evaluate v.txt --analogies {file} --json")).json();
        let total = &found["analogies"][0]["total"];
        assert_eq!((&total["asked"], &total["correct"]), (&0.into(), &0.into()));
        assert!(total["accuracy"].is_null(), "{total}");
        let shown = home.say(&format!("evaluate v.txt --analogies {file}")).done().text();
        assert!(!shown.to_lowercase().contains("nan"), "{shown}");
    }
    let found = home.say("evaluate v.txt --pairs empty --json").json();
    assert!(found["pairs"][0]["spearman"].is_null());
    home.say("evaluate v.txt --pairs empty").done();
}

#[test]
fn a_set_of_questions_that_is_none_is_refused_with_the_line() {
    let home = with_files();
    home.write("short", ": royal\nman woman king queen\nman woman king\n");
    home.write("pairs", "king queen 9\nman city much\n");
    home.refuses("evaluate v.txt --analogies short", 3, &["short", "line 3", "four words"]);
    home.refuses("evaluate v.txt --pairs pairs", 3, &["pairs", "line 2", "number"]);
    home.refuses("evaluate v.txt --pairs none", 1, &["none", "no such file"]);
    home.refuses("evaluate v.txt --analogies model", 3, &["model", "is a folder"]);
    home.write("good", "king queen 9\n");
    home.refuses("evaluate none --pairs good", 1, &["none", "no such file"]);
}

#[test]
fn a_word_is_explained_where_there_is_a_tree() {
    let home = with_files();
    let found = home.say("explain model king").done().text();
    assert!(found.contains("bits") && found.contains("probability"), "{found}");
    home.say("explain model king --json").json();
    home.refuses("explain model kingg", 3, &["'kingg'", "did you mean king"]);
    home.refuses("explain v.txt king", 3, &["v.txt", "is a file, expected a model folder"]);
    home.say("convert v.txt treeless --quiet").done();
    home.refuses("explain treeless king", 3, &["treeless", "no tree"]);
}

#[test]
fn a_model_of_negative_sampling_answers_all_but_what_needs_the_tree() {
    let home = Home::with_text();
    let trained =
        home.say("train text.txt -o ns --tokens word --min-count 1 --loss ns --dim 20 --epochs 3 --threads 1 --hold-out 5% --log log").done();
    assert!(trained.err.contains("ns objective") && !trained.err.contains("loss "), "{}", trained.err);
    let log = String::from_utf8(home.read("log")).unwrap();
    assert!(log.contains(r#""measure":"ns-objective""#), "{log}");
    let info = home.say("info ns").done().text();
    assert!(info.contains("outputs") && info.contains("ns objective") && !info.contains("tree nodes"), "{info}");
    home.say("nearest ns king").done();
    home.say("analogy ns king - man + woman").done();
    home.say("convert ns ns.txt --quiet").done();
    home.say("convert ns.txt again --quiet").done();
    home.refuses("explain ns king", 3, &["negative sampling", "--loss hs"]);
}

#[test]
fn what_has_no_direction_has_no_neighbours() {
    // B5: a zero vector, or words that cancel out, are equally far from everything.
    let home = Home::empty();
    home.write("v.txt", "4 2\nking 1 0\nzero 0 0\nman 0 1\nx 1 1\n");
    for question in ["nearest v.txt zero", "analogy v.txt king - king", "analogy v.txt king - king --method mul"] {
        assert!(home.say(question).done().text().contains("no answer"), "{question}");
        assert_eq!(
            home.say(&format!("{question} --json")).json()["results"].as_array().unwrap().len(),
            0,
            "{question}"
        );
    }
    assert!(!home.say("nearest v.txt king").done().text().contains("zero"));
}
