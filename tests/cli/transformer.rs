//! Here belongs: the transformer's verbs, on models that are trained in a blink.

use crate::common::{Home, Ran, send, small_text, wait_for};

/// Settings of a tiny transformer.
const TINY: &str = "--d-model 16 --n-heads 2 --n-layers 1 --context-len 16 --batch-size 4 --threads 1";

/// Trains `text.txt` into `out` with these flags more.
fn train(home: &Home, flags: &str) -> Ran {
    home.say(format!("transformer train text.txt -o out --vocab-size 300 {TINY} {flags}").trim())
}

/// A folder with a tiny decoder, `out`.
fn with_decoder(flags: &str) -> Home {
    let home = Home::with_text();
    train(&home, &format!("--quiet --steps 30 --learning-rate 0.01 {flags}")).done();
    home
}

/// A folder with an encoder-decoder, `out`, that was trained on `pairs.tsv`.
fn with_translator() -> Home {
    let home = Home::empty();
    let words = ["one", "two", "three", "four"];
    let line = |i: usize| format!("{} {}\t{}\n", words[i % 4], words[i / 4 % 4], words[i / 4 % 4]);
    home.write("pairs.tsv", (0..64).map(line).collect::<String>());
    home.say(&format!(
        "transformer train pairs.tsv -o out --vocab-size 280 --shape encoder-decoder --quiet --steps 20 --hold-out 25% {TINY}"
    ))
    .done();
    home
}

#[test]
fn training_prints_the_promised_object_and_logs_an_object_a_line() {
    let home = Home::with_text();
    let found = train(&home, "--steps 20 --validate-every 10 --log log.jsonl --json --quiet").json();
    assert_eq!((found["steps"].as_u64(), found["reports"].as_array().map(Vec::len)), (Some(20), Some(2)));
    assert!(found["parameters"].as_u64().unwrap() > 5000);
    let last = &found["reports"][1];
    let (loss, perplexity) = (last["validation_loss"].as_f64().unwrap(), last["perplexity"].as_f64().unwrap());
    assert!((loss.exp() - perplexity).abs() < 1e-6 * perplexity && last["train_loss"].as_f64().unwrap() > 0.0);
    let log = String::from_utf8(home.read("log.jsonl")).unwrap();
    let events: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let n = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    assert_eq!((n("size"), n("validated"), n("saved")), (1, 2, 1));
    let names: Vec<String> = std::fs::read_dir(home.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for name in ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "training.safetensors"]
    {
        assert!(names.iter().any(|found| found == name), "{name} is not among {names:?}");
    }
}

#[test]
fn what_people_read_goes_to_standard_error() {
    let home = Home::with_text();
    let ran = train(&home, "--steps 4").done();
    assert!(ran.out.is_empty());
    for words in ["parameters", "training needs about", "held out", "step 4: loss", "perplexity", "generate out"] {
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
    }
    let ran = train(&home, "--steps 4 --quiet").done();
    assert!(ran.out.is_empty() && ran.err.is_empty(), "{}", ran.err);
}

#[test]
fn all_of_the_text_is_learned_whatever_the_loss_is_measured_on() {
    let home = Home::with_text();
    home.write("short.txt", small_text().lines().take(40).map(|line| format!("{line}\n")).collect::<String>());
    let sizes = |flags: &str| {
        let said = train(&home, &format!("--steps 2 {flags}")).done().err.replace(',', "");
        let before = |what: &str| {
            let words: Vec<&str> = said.split_once(what)?.0.split_whitespace().collect();
            words.last()?.parse::<f64>().ok()
        };
        (before(" tokens to learn from").unwrap(), before(" tokens held out"))
    };
    let (whole, None) = sizes("--hold-out 0") else { panic!("something is held out") };
    let (learned, Some(held_out)) = sizes("--validation short.txt") else { panic!("nothing is held out") };
    assert_eq!(learned, whole);
    assert!(0.0 < held_out && held_out < whole / 4.0, "{held_out} of {whole}");
    let (learned, Some(held_out)) = sizes("--hold-out 25%") else { panic!("nothing is held out") };
    // Both are counted in whole windows.
    assert!((learned + held_out - whole).abs() < 32.0 && held_out < learned / 2.0, "{learned}, {held_out}, {whole}");
}

#[test]
fn a_text_of_a_line_is_learned_and_one_of_a_letter_is_refused() {
    let home = Home::empty();
    home.write("line.txt", "the king and the queen");
    let ran = home.say(&format!("transformer train line.txt -o out --vocab-size 257 --steps 3 {TINY}")).done();
    assert!(ran.err.contains("too short to measure") || ran.err.contains("nothing held out"), "{}", ran.err);
    home.say("transformer generate out the -n 4").done();
    home.write("letter.txt", "a");
    for shape in ["decoder", "encoder", "encoder-decoder"] {
        let line = format!(
            "transformer train letter.txt -o other --tokenizer out --shape {shape} --quiet --hold-out 0 {TINY}"
        );
        let ran = home.say(&line);
        assert!(shape == "decoder" || ran.code == Some(3), "{shape}: {}", ran.err);
    }
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_bytes() {
    // C1, D5
    let home = Home::with_text();
    let whole = "--steps 60 --validate-every 20 --quiet";
    train(&home, whole).done();
    let expected = [home.read("out/model.safetensors"), home.read("out/training.safetensors")];
    std::fs::rename(home.path("out"), home.path("whole")).unwrap();

    let endless = format!("transformer train text.txt -o out --vocab-size 300 {TINY} --steps 60 --validate-every 20");
    let mut child = home.command(&endless.split(' ').collect::<Vec<_>>()).spawn().unwrap();
    wait_for(&mut child, "step 20: loss");
    send(&child, "INT");
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    // It may have been too fast for us; then there is nothing to go on with.
    if output.status.code() != Some(0) {
        assert_eq!(output.status.code(), Some(130), "{err}");
        assert_eq!(err.matches("error: interrupted").count(), 1, "{err}");
        home.say("transformer generate out the -n 3").done();
        let ran = home.say("transformer train text.txt -o out --resume --threads 1").done();
        assert!(ran.err.contains("going on after step"), "{}", ran.err);
    }
    assert!([home.read("out/model.safetensors"), home.read("out/training.safetensors")] == expected);
}

#[test]
fn a_killed_run_leaves_what_was_saved() {
    // C1, C7
    let home = with_decoder("");
    let before = home.read("out/model.safetensors");
    let arguments = format!(
        "transformer train text.txt -o out --vocab-size 300 {TINY} --steps 1000000 --validate-every 500000 --log log.jsonl"
    );
    let mut child = home.command(&arguments.split(' ').collect::<Vec<_>>()).spawn().unwrap();
    wait_for(&mut child, "to learn from");
    std::thread::sleep(std::time::Duration::from_millis(100));
    send(&child, "KILL");
    child.wait().unwrap();
    assert!(home.read("out/model.safetensors") == before);
    home.say("transformer generate out the -n 3").done();
}

#[test]
fn a_run_goes_on_with_more_steps_but_not_with_other_settings_or_texts() {
    // C5
    let home = with_decoder("");
    let go_on = |flags: &str| format!("transformer train text.txt -o out --resume --quiet {flags}").trim().to_string();
    home.refuses(&go_on(""), 2, &["all 30 steps are done", "--steps"]);
    home.refuses(&go_on("--steps 40 --d-model 32"), 2, &["other settings", "d-model is 16, not 32"]);
    home.refuses(&go_on("--steps 40 --seed 2 --learning-rate 1e-2"), 2, &["seed is 1, not 2"]);
    home.write("other.txt", small_text().replace("king", "duke"));
    home.refuses("transformer train other.txt -o out --resume --quiet --steps 40", 2, &["the text is not the one"]);
    home.refuses("transformer train text.txt -o nothing --resume --quiet", 1, &["nothing", "no such"]);
    let found = home.say(&go_on("--steps 40 --json")).json();
    assert_eq!(found["steps"].as_u64(), Some(40));
    std::fs::remove_file(home.path("out/training.safetensors")).unwrap();
    home.say(&go_on("--steps 50")).refused(1, &["training.safetensors"]);
}

#[test]
fn settings_come_from_a_file_and_flags_count_for_more() {
    let home = Home::with_text();
    home.write(
        "tiny.json",
        r#"{"d_model": 16, "n-heads": 2, "n_layers": 1, "context_len": 8, "steps": 2, "batch_size": 2}"#,
    );
    home.say("transformer train text.txt -o out --config tiny.json --n-layers 2 --vocab-size 300 --quiet").done();
    let config: serde_json::Value = serde_json::from_slice(&home.read("out/config.json")).unwrap();
    let ours = &config["wordgrove"]["transformer"];
    let of = |name: &str| ours[name].as_u64().unwrap();
    assert_eq!([of("d_model"), of("n_layers"), of("context_len"), of("d_ff")], [16, 2, 8, 64]);
    for (text, words) in [
        (r#"{"d_modle": 16}"#, "d_modle"),
        (r#"{"d_model": "large"}"#, "large"),
        (r#"{"steps": -1}"#, "-1"),
        (r#"[1]"#, "no JSON object"),
        ("{", "no JSON object"),
    ] {
        home.write("wrong.json", text);
        home.refuses("transformer train text.txt -o other --config wrong.json --quiet", 3, &["wrong.json", words]);
    }
    home.refuses("transformer train text.txt -o other --config none.json --quiet", 1, &["none.json", "no such"]);
}

#[test]
fn settings_out_of_range_are_refused_with_the_range() {
    // C11, D2
    let home = Home::with_text();
    for (flags, words) in [
        ("--d-model 0", "1 to 16384"),
        ("--d-model -1", "1 to 16384"),
        ("--d-model abc", "1 to 16384"),
        ("--d-model 1e12", "1 to 16384"),
        ("--d-model 16 --n-heads 3", "divisor"),
        ("--n-heads 0", "1 to 16384"),
        ("--n-layers 0", "1 to 1000"),
        ("--context-len 0", "2 to 1048576"),
        ("--context-len 1000000000", "2 to 1048576"),
        ("--d-ff 0", "1 to 262144"),
        ("--dropout 1", "0 to below 1"),
        ("--dropout NaN", "0 to below 1"),
        ("--steps 0", "1 or more"),
        ("--batch-size 0", "1 to 65536"),
        ("--learning-rate 0", "above 0"),
        ("--learning-rate NaN", "above 0"),
        ("--learning-rate 1000", "at most 1"),
        ("--weight-decay -1", "0 and 1"),
        ("--weight-decay x", "from 0 to 1"),
        ("--beta2 1", "but without, 1"),
        ("--clip-norm 0", "above 0"),
        ("--final-rate 2", "0 to 1"),
        ("--validate-every 0", "1 or more"),
        ("--hold-out 0.9", "0 to 0.5"),
        ("--threads 0", "1 to 1024"),
        ("--threads 10000", "1 to 1024"),
        ("--vocab-size 12", "256 to"),
        ("--shape circle", "decoder"),
        ("--positions rotary --d-model 6 --n-heads 2", "odd"),
        ("--memory-limit 1M", "--memory-limit is"),
        ("--d-model 16384 --n-layers 1000", "need about"),
        ("--plant text.txt --tokenizer text.txt", "cannot be used with"),
    ] {
        home.say(&format!("transformer train text.txt -o out --quiet {flags}")).refused(2, &[words]);
        assert_eq!(home.names(), ["text.txt"], "{flags}");
    }
}

#[test]
fn a_text_goes_on_the_same_way_for_the_same_seed() {
    let home = with_decoder("");
    let say = |flags: &str| home.say(&format!("transformer generate out the {flags}")).done().text();
    let first = say("-n 20");
    assert!(first.starts_with("the") && first.len() > 10);
    assert_eq!(first, say("-n 20 --seed 1"));
    assert_ne!(first, say("-n 20 --seed 2"));
    assert_eq!(say("-n 8 --temperature 0 --seed 3"), say("-n 8 --top-k 1"));
    assert_eq!(say("-n 8 --temperature 0"), say("-n 8 --top-p 1e-9"));
    let found = home.say("transformer generate out the --json -n 7").json();
    assert_eq!((found["ids"].as_array().map(Vec::len), found["prompt"].as_str()), (Some(7), Some("the")));
    let text = found["text"].as_str().unwrap();
    let stop = text.chars().skip(2).take(2).collect::<String>();
    let stopped = home.run(&["transformer", "generate", "out", "the", "-n", "7", "--stop", &stop]).done().text();
    assert_eq!(stopped, format!("the{}\n", &text[..text.find(&stop).unwrap()]));
    let piped = home.run_with_input(&["transformer", "generate", "out", "-", "-n", "20"], "the\n").done();
    assert_eq!(piped.text(), first);
    assert!(!home.say("transformer generate out -n 5").done().out.is_empty(), "without a prompt");
}

#[test]
fn a_text_without_end_is_cut_by_whoever_reads_it() {
    // D6
    let home = with_decoder("--positions rotary");
    let ran = home.shell("$WORDGROVE transformer generate out the -n 0 --raw | head -c 300");
    assert!(ran.err.is_empty(), "{}", ran.err);
    assert_eq!(ran.done().out.len(), 300);
    home.say("transformer generate out the -n 40 --sinks 2 --window 6").done();
}

#[test]
fn what_cannot_be_generated_is_refused_by_name() {
    // D2, C11
    let home = with_decoder("");
    for (flags, words) in [
        ("--temperature -1", "0 (always the most probable token) to 1000"),
        ("--temperature NaN", "to 1000"),
        ("--top-k 0", "1 or more"),
        ("--top-p 0", "above 0 and at most 1"),
        ("--top-p 2", "above 0 and at most 1"),
        ("--window 4", "rotary"),
    ] {
        home.refuses(&format!("transformer generate out the {flags}"), 2, &[words]);
    }
    home.refuses("transformer generate nothing the", 1, &["nothing", "no such"]);
    home.refuses("transformer generate text.txt the", 3, &["text.txt", "expected the folder"]);
    home.refuses("transformer translate out the", 2, &["translate"]);
    home.say("train text.txt -o vectors --tokens word --quiet --dim 4").done();
    home.refuses("transformer generate vectors the", 3, &["word vectors"]);
    std::fs::copy(home.path("vectors/tokenizer.json"), home.path("out/tokenizer.json")).unwrap();
    home.say("transformer generate out the").refused(3, &["tokenizer.json"]);
}

#[test]
fn vectors_are_planted_with_their_tokens() {
    let home = Home::with_text();
    for (kind, shape, output) in [("word", "decoder", "tied"), ("bpe", "decoder", "tree"), ("bpe", "encoder", "tree")] {
        let vocab = if kind == "bpe" { "--vocab-size 300" } else { "--min-count 1" };
        home.say(&format!("train text.txt -o vectors --tokens {kind} {vocab} --quiet --dim 12 --epochs 1")).done();
        let flags = format!("--plant vectors --shape {shape} --output-layer {output} --steps 4 {TINY}");
        let ran = home.say(&format!("transformer train text.txt -o out {flags}")).done();
        let nodes = if output == "tree" { "nodes of the tree" } else { "numbers from vectors" };
        assert!(ran.err.contains("planted") && ran.err.contains(nodes), "{}", ran.err);
        let verb = if shape == "decoder" { "generate" } else { "embed" };
        assert!(!home.say(&format!("transformer {verb} out the king")).done().out.is_empty());
    }
    home.refuses(&format!("transformer train text.txt -o other --plant text.txt {TINY}"), 3, &["text.txt"]);
}

#[test]
fn pairs_are_learned_and_translated_line_by_line() {
    let home = with_translator();
    let ran = home.run_with_input(&["transformer", "translate", "out"], "one two\n\nthree four\n").done();
    let lines: Vec<String> = ran.text().lines().map(str::to_string).collect();
    assert_eq!((lines.len(), lines[1].as_str()), (3, ""), "{lines:?}");
    let ran = home.say("transformer translate out one two --json --beam 2").json();
    let found = ran["translations"].as_array().unwrap();
    assert!(found.len() <= 2 && found[0]["log_probability"].as_f64().unwrap() < 0.0);
    for (flags, words) in [("--beam 0", "1 to 1024"), ("--length-penalty NaN", "0 to 10"), ("--max-len 0", "1 to")] {
        home.refuses(&format!("transformer translate out one {flags}"), 2, &[words]);
    }
    let long = "one ".repeat(40);
    home.run(&["transformer", "translate", "out", &long, "two"]).refused(3, &["line 1", "room for 15"]);
    home.refuses("transformer generate out one", 2, &["continues texts"]);
    let ran = home.say("transformer embed out one two").done();
    assert_eq!(ran.text().split_whitespace().count(), 16);
    home.write("wrong.tsv", "one\ttwo\nno tab here\n");
    let wrong = format!("transformer train wrong.tsv -o other --shape encoder-decoder --vocab-size 280 --quiet {TINY}");
    home.refuses(&wrong, 3, &["wrong.tsv", "line 2", "no tab"]);
}

#[test]
fn lines_become_vectors_of_length_one() {
    let home = Home::with_text();
    train(&home, "--shape encoder --quiet --steps 5 --validation text.txt").done();
    let ran = home.run_with_input(&["transformer", "embed", "out"], "the king\n\nparis is the capital\n").done();
    let norms: Vec<f32> = ran
        .text()
        .lines()
        .map(|line| line.split(' ').map(|number| number.parse::<f32>().unwrap()).map(|x| x * x).sum())
        .collect();
    assert_eq!(norms.len(), 3);
    assert!((norms[0] - 1.0).abs() < 1e-4 && norms[1] == 0.0 && (norms[2] - 1.0).abs() < 1e-4, "{norms:?}");
    let found = home.say("transformer embed out the king --json").json();
    assert_eq!((found["text"].as_str(), found["vector"].as_array().map(Vec::len)), (Some("the king"), Some(16)));
}

#[test]
fn a_destination_or_log_that_would_destroy_something_is_refused() {
    // C6, C7
    let home = with_decoder("");
    home.write("file", "precious");
    std::fs::create_dir(home.path("photos")).unwrap();
    home.write("photos/cat.jpg", "meow");
    home.say("train text.txt -o vectors --tokens word --quiet --dim 4").done();
    for (path, words) in [("file", "is a file"), ("photos", "would be lost"), ("vectors", "would be lost")] {
        home.refuses(&format!("transformer train text.txt -o {path} --steps 100000 {TINY}"), 2, &[path, words]);
    }
    home.refuses(&format!("transformer train text.txt -o out --log text.txt {TINY}"), 2, &["--log", "text.txt"]);
    home.refuses(&format!("transformer train text.txt -o out --log out/log.jsonl {TINY}"), 2, &["--log", "out"]);
    home.refuses(&format!("transformer train none.txt -o out {TINY}"), 1, &["none.txt", "no such"]);
}
