//! Here belongs: `transformer attention` and `transformer trace`, and the example that is small enough for paper.

use crate::common::Home;

/// The command of the worked example, as a user would type it.
const EXAMPLE: &str = "transformer train exchanges.txt -o small --tokens word --min-count 1 --shape encoder-decoder \
    --d-model 6 --n-heads 2 --n-layers 1 --context-len 10 --positions sinusoidal --dropout 0 --steps 300 \
    --learning-rate 0.02 --quiet --threads 1";

/// What is asked in it first.
const QUESTION: &str = "when you play the game of thrones";

/// A folder with the three exchanges and the model that has learned them, `small`.
fn with_example(flags: &str) -> Home {
    let home = Home::empty();
    let text = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/corpora/exchanges.txt")).unwrap();
    home.write("exchanges.txt", text);
    home.say(format!("{} {flags}", EXAMPLE.split_whitespace().collect::<Vec<_>>().join(" ")).trim()).done();
    home
}

/// A folder with a decoder of a few words, `out`, trained on a text in which some are hostile.
fn with_hostile_words() -> Home {
    let home = Home::empty();
    home.write("text.txt", "the \u{1b}[31m king </script> said \u{202e} so &amp; \"went\" '\n".repeat(40));
    home.say(
        "transformer train text.txt -o out --tokens word --min-count 1 --d-model 8 --n-heads 2 --n-layers 2 \
         --context-len 16 --batch-size 4 --steps 5 --hold-out 0 --quiet --threads 1",
    )
    .done();
    home
}

#[test]
fn the_example_learns_its_three_answers_and_shows_the_way_to_you() {
    for seed in 1..=3 {
        let home = with_example(&format!("--seed {seed}"));
        let text = String::from_utf8(home.read("exchanges.txt")).unwrap();
        for line in text.lines() {
            let (question, answer) = line.split_once('\t').unwrap();
            let ran = home.say(&format!("transformer translate small {question} --beam 1")).done();
            assert_eq!(ran.text(), format!("{answer}\n"), "seed {seed}");
        }
        let ran = home.say(&format!("transformer trace small {QUESTION}")).done();
        assert!(ran.err.is_empty() && ran.text().ends_with("predicted: you\n"), "{}", ran.text());
    }
}

#[test]
fn a_trace_shows_each_step_with_its_formula_and_goes_on_from_what_is_written() {
    let home = with_example("");
    let text = home.say(&format!("transformer trace small {QUESTION}")).done().text();
    let steps = [
        "token ids:",
        "embedding:",
        "E · √6",
        "position:",
        "X = E · √6 + P",
        "Q = X · W_Qᵀ + b_Q",
        "S = Q · Kᵀ",
        "S / √3",
        "softmax",
        "P · V",
        "heads joined:",
        "Z · W_Oᵀ + b_O",
        "X + A",
        "norm(X + A)",
        "relu(U)",
        "−∞ for what comes later",
        "Y is what the encoder left",
        "logits:",
        "probabilities:",
        "predicted: you",
    ];
    let mut rest = text.as_str();
    for step in steps {
        rest = &rest[rest.find(step).unwrap_or_else(|| panic!("no '{step}' in order in:\n{text}"))..];
    }
    assert!(!text.contains("W_Q ="), "parameters are shown on request");
    let question: Vec<&str> = QUESTION.split(' ').collect();
    let trace =
        |more: &[&str]| home.run(&[&["transformer", "trace", "small"], &question[..], more].concat()).done().text();
    assert!(trace(&["--parameters"]).contains("W_Q = encoder.0.attention.qkv.weight[0..6] [6, 6]"));
    for (target, next) in [("you", "win"), ("you win or you", "die"), ("you win or you die", "<end>")] {
        assert!(trace(&["--target", target]).ends_with(&format!("predicted: {next}\n")), "{target}");
    }
    let some = trace(&["--steps", "9-10,57", "-k", "1", "--digits", "1"]);
    assert!(
        some.contains("\n  9  scores") && some.contains("\n 57  probabilities") && !some.contains("\n  8  "),
        "{some}"
    );
    assert!(some.lines().all(|line| !line.contains(".00")), "{some}");
    home.refuses("transformer trace small you --steps 58", 2, &["--steps", "expected 1 to 57"]);
    home.refuses("transformer trace small you --steps x", 2, &["3-9,15"]);
    // Every number in it is also in the object.
    let found = home.say(&format!("transformer trace small {QUESTION} --json")).json();
    assert_eq!(found["predictions"][0]["candidates"][0]["token"], "you");
    let step = &found["sections"][0]["steps"][1];
    assert_eq!((&step["name"], &step["matrices"][0]["rows"][0]), (&"encoder.tokens".into(), &"when".into()));
    let first = step["matrices"][0]["numbers"][0][0].as_f64().unwrap();
    let line = text.lines().skip_while(|line| !line.contains("embedding:")).nth(2).unwrap();
    assert_eq!(line.split_whitespace().nth(1).unwrap(), format!("{first:.3}"));
}

#[test]
fn large_matrices_are_shortened_unless_they_are_wanted_whole() {
    let home = Home::with_text();
    home.say(
        "transformer train text.txt -o out --vocab-size 300 --d-model 32 --n-heads 2 --n-layers 1 --context-len 40 \
         --steps 3 --quiet --threads 1",
    )
    .done();
    let trace =
        |flags: &str| home.say(format!("transformer trace out the king of france {flags}").trim()).done().text();
    let (short, full) = (trace(""), trace("--full"));
    assert!(short.contains('…') && short.contains('⋮') && !full.contains('⋮'));
    assert!(full.len() > 2 * short.len() && short.lines().all(|line| line.chars().count() <= 160));
    let embedding = |text: &str| {
        let line = text.lines().skip_while(|line| !line.contains("embedding:")).nth(1).unwrap().to_string();
        line.split_whitespace().count()
    };
    assert_eq!((embedding(&short), embedding(&full)), (12, 32));
}

#[test]
fn pages_need_nothing_but_themselves_and_replace_what_was_there_whole() {
    let home = with_example("");
    home.write("page.html", "old");
    let ran = home.say(&format!("transformer trace small {QUESTION} --html page.html")).done();
    assert!(ran.out.is_empty() && ran.err.is_empty(), "{}", ran.err);
    let page = String::from_utf8(home.read("page.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    assert!(
        page.contains("Step by step: small") && page.contains("<b>you</b>") && page.contains("prefers-color-scheme")
    );
    for word in ["<script", "http:", "https:", "src=", "url(", "<link"] {
        assert!(!page.contains(word), "{word}");
    }
    let piped = home.say(&format!("transformer attention small {QUESTION}")).done();
    assert!(piped.text().starts_with("<!DOCTYPE html>"));
    home.say(&format!("transformer attention small {QUESTION} -o map.html")).done();
    assert_eq!(home.read("map.html"), piped.out);
    // Three kinds of attention of two heads, and a cell for each two tokens that see each other.
    assert_eq!(piped.text().matches("<svg ").count(), 6);
    let cells = 2 * (8 * 8 + 6 * 7 / 2 + 6 * 8);
    assert_eq!(piped.text().matches("</title></path>").count(), cells);
    home.say(&format!("transformer attention small {QUESTION} -o map.svg --head 2 --layer 1")).done();
    let picture = String::from_utf8(home.read("map.svg")).unwrap();
    assert!(picture.starts_with("<svg xmlns=") && picture.matches("</title></path>").count() == cells / 2);
    let target = ["transformer", "attention", "small", "who", "waits", "--target", "only the", "--json"];
    let found = home.run(&target).json();
    assert_eq!(found["target"].as_array().map(Vec::len), Some(3));
    let row = &found["maps"][4]["probabilities"][0];
    let sum: f64 = row.as_array().unwrap().iter().map(|p| p.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-5 && found["maps"][4]["of"] == "cross");
    // D6
    let ran = home.shell(&format!("$WORDGROVE transformer attention small {QUESTION} | head -c 100"));
    assert!(ran.err.is_empty() && ran.out.len() == 100, "{}", ran.err);
}

#[test]
fn what_cannot_be_looked_at_is_refused_and_leaves_nothing_behind() {
    let home = with_example("");
    std::fs::create_dir(home.path("folder")).unwrap();
    for (verb, flag) in [("attention", "-o"), ("trace", "--html")] {
        let refuses = |flags: &str, code: i32, words: &[&str]| {
            home.refuses(&format!("transformer {verb} small {flags}"), code, words);
        };
        refuses(&format!("you {flag} none/page.html"), 1, &["none/page.html", "no such"]);
        refuses(&format!("you {flag} folder"), 3, &["folder", "is a folder"]);
        refuses(&format!("you {flag} small/page.html"), 2, &["model folder"]);
        refuses(&format!("you {flag} exchanges.txt/page.html"), 1, &["exchanges.txt"]);
        refuses("", 2, &["no token to look at"]);
        refuses("you you you you you you you you you you", 2, &["11 tokens", "room for 10"]);
        let long = "you ".repeat(10);
        home.run(&["transformer", verb, "small", "you", "--target", &long]).refused(2, &["--target", "room for 10"]);
        home.refuses(&format!("transformer {verb} nothing you"), 1, &["nothing", "no such"]);
        home.refuses(&format!("transformer {verb} exchanges.txt you"), 3, &["expected the folder"]);
    }
    home.refuses("transformer attention small you --layer 2", 2, &["--layer", "1 to 1"]);
    home.refuses("transformer attention small you --head 3", 2, &["--head", "1 to 2"]);
    home.refuses("transformer attention small you --head 0", 2, &["1 to"]);
    home.refuses("transformer attention small you -o a.html --json", 2, &["cannot be used with"]);
    home.refuses("transformer trace small you --digits 10", 2, &["0 to 9"]);
    // What is not in the vocabulary reads as the unknown word.
    assert!(home.say("transformer trace small dragons").done().text().starts_with("source: [UNK] <end>\n"));
}

#[test]
fn hostile_tokens_reach_neither_the_terminal_nor_the_page() {
    let home = with_hostile_words();
    home.refuses("transformer trace out the --target king", 2, &["--target", "only an encoder-decoder"]);
    let hostile = "the \u{1b}[31m king </script> said \u{202e} so";
    let ran = home.run(&["transformer", "trace", "out", hostile, "-k", "100"]).done();
    assert!(ran.text().contains("king"));
    let page = home.run(&["transformer", "attention", "out", hostile]).done();
    home.run(&["transformer", "trace", "out", hostile, "--html", "page.html", "-k", "100"]).done();
    home.run(&["transformer", "attention", "out", hostile, "-o", "map.svg"]).done();
    for bytes in [&ran.out, &page.out, &home.read("page.html"), &home.read("map.svg")] {
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(!text.contains(['\u{1b}', '\u{202e}']) && text.contains("u{1b}") && text.contains("u{202e}"));
        assert!(!text.contains("</script"));
    }
    let piped = home.run_with_input(&["transformer", "trace", "out", "-"], "the king\n").done();
    assert_eq!(piped.text(), home.say("transformer trace out the king").done().text());
    assert!(!home.say("transformer trace out").done().out.is_empty(), "a line begins");
}
