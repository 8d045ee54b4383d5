//! Here belongs: the transformer's verbs, on models that are trained in a blink.

use wordgrove::transformer::Checkpoint;
use wordgrove::vectors::Model;

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
    assert_eq!((n("size"), n("validated"), n("saved")), (1, 2, 2), "every save is told");
    let names: Vec<String> = std::fs::read_dir(home.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for name in ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "training.safetensors"]
    {
        assert!(names.iter().any(|found| found == name), "{name} is not among {names:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn training_needs_about_as_much_memory_as_it_says() {
    // D3
    let home = Home::empty();
    let words: Vec<String> = (0..30_000).map(|i| format!("w{i}")).collect();
    home.write("text.txt", words.chunks(10).map(|words| words.join(" ") + "\n").collect::<String>());
    let run = |flags: &str| {
        let line = "transformer train text.txt -o out --tokens word --min-count 1 --steps 3 --validate-every 3 --quiet \
                    --hold-out 1% --n-layers 1 --threads 2 --log log.jsonl --json";
        let peak = home.say(&format!("{line} {flags}")).json()["peak_rss_bytes"].as_f64().unwrap();
        let log = String::from_utf8(home.read("log.jsonl")).unwrap();
        let size = log.lines().find(|line| line.contains("\"size\"")).unwrap();
        let size: serde_json::Value = serde_json::from_str(size).unwrap();
        (size["training_bytes"].as_f64().unwrap(), peak)
    };
    for (output, settings) in [
        // Nothing is large but the logits; the parameters on their way into a file; what layers keep.
        ("tied", "--d-model 16 --n-heads 2 --context-len 64 --batch-size 32"),
        ("tied", "--d-model 128 --n-heads 2 --context-len 64 --batch-size 4"),
        ("tree", "--d-model 64 --n-heads 2 --context-len 64 --batch-size 64"),
    ] {
        // The text, the vocabulary, the tree and the program itself come on top.
        let (_, rest) = run(&format!("--output-layer {output} --d-model 1 --n-heads 1 --context-len 2 --batch-size 1"));
        let (estimate, peak) = run(&format!("--output-layer {output} {settings}"));
        let needed = peak - rest;
        assert!(needed < estimate && estimate < 2.5 * needed, "{settings}: {needed} needed, {estimate} said");
    }
}

#[test]
fn a_decoder_of_whole_words_writes_lines_and_its_marks_are_known_as_such() {
    let home = Home::empty();
    home.write("text.txt", "one two three\nfour five six\n".repeat(100));
    home.say(&format!(
        "transformer train text.txt -o out --tokens word --min-count 1 --quiet --steps 60 --learning-rate 0.02 {TINY}"
    ))
    .done();
    let said = home.say("transformer generate out one -n 12 --temperature 0").done().text();
    assert!(said.contains("\none two three\nfour five six\n"), "{said:?}");
    // The line's end has its id again when the tokenizer is read, and other programs leave it out.
    home.say("transformer train text.txt -o out --resume --steps 62 --quiet").done();
    let json = |name: &str| serde_json::from_slice::<serde_json::Value>(&home.read(name)).unwrap();
    assert_eq!(json("out/tokenizer_config.json")["bos_token"], "<end>");
    let added = json("out/tokenizer.json")["added_tokens"].clone();
    let marks = added.as_array().unwrap().iter().filter(|token| token["content"] == "<end>");
    assert_eq!(marks.map(|token| &token["special"]).collect::<Vec<_>>(), [true]);
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
    assert!(ran.err.contains("nothing held out"), "2% of a dozen tokens are none: {}", ran.err);
    let half = format!("transformer train line.txt -o half --tokenizer out --steps 3 --hold-out 5% {TINY}");
    assert!(home.say(&half).done().err.contains("too short to measure"), "5% are one token");
    home.say("transformer generate out the -n 4").done();
    home.write("letter.txt", "a");
    let train = |text: &str, shape: &str| {
        format!(
            "transformer train {text} -o other --tokenizer out --shape {shape} --quiet --hold-out 0 --steps 2 {TINY}"
        )
    };
    // A letter and the end of its line are something to learn for a decoder, and for nobody else.
    home.say(&train("letter.txt", "decoder")).done();
    home.refuses(&train("letter.txt", "encoder"), 3, &["two tokens to learn from"]);
    home.refuses(&train("letter.txt", "encoder-decoder"), 3, &["letter.txt", "line 1", "no tab"]);
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_bytes() {
    // C1, D5
    let home = Home::with_text();
    // To measure on it takes far longer than a signal: there is time for one between the first measurement and the end.
    home.write("long.txt", small_text().repeat(20));
    let flags = "--steps 60 --validate-every 20 --validation long.txt";
    let whole = train(&home, &format!("{flags} --json --quiet")).json();
    let expected = [home.read("out/model.safetensors"), home.read("out/training.safetensors")];
    std::fs::rename(home.path("out"), home.path("whole")).unwrap();

    let line = format!("transformer train text.txt -o out --vocab-size 300 {TINY} {flags}");
    let mut child = home.command(&line.split(' ').collect::<Vec<_>>()).spawn().unwrap();
    wait_for(&mut child, "step 20: loss");
    send(&child, "INT");
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{err}");
    assert_eq!(err.matches("error: interrupted").count(), 1, "{err}");
    home.say("transformer generate out the -n 3").done();
    // On as many threads as it began with, and measured on the same text, without being told.
    let resumed = home.say("transformer train text.txt -o out --resume --json").done();
    assert!(resumed.err.contains("going on after step") && !resumed.err.contains("warning"), "{}", resumed.err);
    assert!([home.read("out/model.safetensors"), home.read("out/training.safetensors")] == expected);
    let [whole, resumed] = [whole, resumed.json()].map(|run| {
        let of = |report: &serde_json::Value, name: &str| report[name].as_f64().unwrap();
        let reports = run["reports"].as_array().unwrap().clone();
        assert!(reports.is_sorted_by(|a, b| of(a, "seconds") < of(b, "seconds")), "time goes on: {reports:?}");
        reports.iter().map(|report| of(report, "validation_loss")).collect::<Vec<_>>()
    });
    assert_eq!(whole, resumed);
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
fn killed_at_any_moment_of_a_run_there_is_a_whole_transformer() {
    // C1, C7: it saves after every step, so most kills fall into the saving.
    let home = with_decoder("");
    let line = format!(
        "transformer train text.txt -o out --tokenizer out {TINY} --steps 100000 --validate-every 1 --hold-out 0"
    );
    for delay_ms in [0, 3, 7, 12, 20, 33] {
        let mut child = home.command(&line.split(' ').collect::<Vec<_>>()).spawn().unwrap();
        wait_for(&mut child, "step 2: loss");
        std::thread::sleep(std::time::Duration::from_millis(delay_ms));
        send(&child, "KILL");
        child.wait().unwrap();
        home.say("transformer generate out the -n 3").done();
        home.say("transformer train text.txt -o out --resume --steps 1").refused(2, &["steps are done"]);
    }
}

#[test]
fn a_log_goes_on_where_the_run_does() {
    let home = Home::with_text();
    train(&home, "--steps 20 --validate-every 10 --quiet --log log.jsonl").done();
    let first = home.read("log.jsonl");
    home.say("transformer train text.txt -o out --resume --quiet --log log.jsonl").refused(2, &["all 20 steps"]);
    assert!(home.read("log.jsonl") == first, "a refusal leaves the log alone");
    home.say("transformer train text.txt -o out --resume --quiet --steps 30 --log log.jsonl").done();
    let both = home.read("log.jsonl");
    assert!(both.starts_with(&first) && both.len() > first.len());
    let steps = String::from_utf8(both).unwrap();
    let saved: Vec<u64> = steps
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|event| event["event"] == "saved")
        .map(|event| event["step"].as_u64().unwrap())
        .collect();
    assert_eq!(saved, [10, 20, 30]);
}

#[test]
fn what_cannot_be_put_in_place_is_kept_beside_it_and_not_called_saved() {
    let home = Home::with_text();
    let line = format!(
        "transformer train text.txt -o out --vocab-size 300 {TINY} --steps 100000 --validate-every 200 --log log.jsonl"
    );
    let mut child = home.command(&line.split(' ').collect::<Vec<_>>()).spawn().unwrap();
    wait_for(&mut child, "step 200: loss");
    home.write("out/thesis.txt", "years");
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{err}");
    assert!(err.contains("'thesis.txt'") && err.contains("is kept in"), "{err}");
    assert_eq!(home.read("out/thesis.txt"), b"years");
    let [_, _, kept, _] = &home.names()[..] else { panic!("{:?}", home.names()) };
    home.say(&format!("transformer generate {kept} the -n 3")).done();
    let config = |folder: &str| -> serde_json::Value {
        let all: serde_json::Value = serde_json::from_slice(&home.read(format!("{folder}/config.json"))).unwrap();
        all["wordgrove"]["notes"]["state"]["step"].clone()
    };
    let log = String::from_utf8(home.read("log.jsonl")).unwrap();
    let last = log.lines().rfind(|line| line.contains("\"saved\"")).unwrap();
    let last: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["step"], config("out"));
    assert!(config(kept).as_u64() > config("out").as_u64());
}

#[test]
fn of_two_runs_to_one_folder_the_second_is_refused() {
    // C9
    let home = Home::with_text();
    let line =
        format!("transformer train text.txt -o out --vocab-size 300 {TINY} --steps 100000 --validate-every 50000");
    let mut first = home.command(&line.split(' ').collect::<Vec<_>>()).spawn().unwrap();
    wait_for(&mut first, "to learn from");
    train(&home, "--steps 2 --quiet").refused(1, &["out", "another run"]);
    send(&first, "KILL");
    first.wait().unwrap();
    train(&home, "--steps 2 --quiet").done();
    assert_eq!(home.names(), ["out", "text.txt"], "and nothing is left of either");
}

#[test]
fn whoever_finds_nothing_after_a_save_that_was_cut_short_is_told_where_it_is() {
    // As file systems leave it that cannot exchange two folders.
    let home = with_decoder("");
    std::fs::rename(home.path("out"), home.path(".out.wordgrove-old-abc123")).unwrap();
    home.refuses("transformer generate out the", 3, &["out", ".out.wordgrove-old-abc123", "rename it"]);
    home.refuses("transformer generate none the", 1, &["none", "no such"]);
}

#[test]
fn a_run_goes_on_with_more_steps_but_not_with_other_settings_or_texts() {
    // C5
    let home = with_decoder("--hold-out 10% --warmup-steps 5");
    let go_on = |flags: &str| format!("transformer train text.txt -o out --resume --quiet {flags}").trim().to_string();
    home.refuses(&go_on(""), 2, &["all 30 steps are done", "--steps"]);
    home.refuses(&go_on("--steps 40 --d-model 32"), 2, &["other settings", "d-model is 16, not 32"]);
    home.refuses(&go_on("--steps 40 --seed 2 --learning-rate 1e-2"), 2, &["seed is 1, not 2"]);
    home.refuses(&go_on("--steps 40 --output-layer tree"), 2, &["output-layer is", "tied", "tree"]);
    home.refuses(&go_on("--steps 40 --hold-out 20%"), 2, &["it holds out 10%, not 20%"]);
    home.refuses(&go_on("--steps 40 --validation text.txt"), 2, &["it holds out 10%, not text.txt"]);
    home.write("other.txt", small_text().replace("king", "duke"));
    home.refuses("transformer train other.txt -o out --resume --quiet --steps 40", 2, &["the text is not the one"]);
    home.refuses("transformer train text.txt -o nothing --resume --quiet", 1, &["nothing", "no such"]);
    // More threads are no other run, but not the same bits either.
    let ran = home.say("transformer train text.txt -o out --resume --steps 40 --threads 2").done();
    for words in ["began on 1 threads and goes on with 2", "goes on at", "where it was"] {
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
    }
    let found = home.say(&go_on("--steps 50 --json")).json();
    assert_eq!(found["steps"].as_u64(), Some(50));
    std::fs::remove_file(home.path("out/training.safetensors")).unwrap();
    home.say(&go_on("--steps 60")).refused(1, &["training.safetensors"]);
}

#[test]
fn settings_that_a_run_has_already_may_be_said_again() {
    let home = with_decoder("--d-ff 100");
    for (steps, flags) in [
        (31, "--activation gelu-tanh"),
        (32, "--activation gelu_tanh"),
        (33, "--d-model 16"),
        (34, "--d-model 16 --d-ff 100 --n-heads 2 --output-layer tied --learning-rate 1e-2 --seed 1"),
    ] {
        home.say(&format!("transformer train text.txt -o out --resume --quiet --steps {steps} {flags}")).done();
    }
    home.refuses(
        "transformer train text.txt -o out --resume --quiet --steps 35 --d-ff 64",
        2,
        &["d-ff is 100, not 64"],
    );
}

#[test]
fn a_run_whose_folder_was_edited_is_refused_by_name() {
    // C11
    for (shape, name) in [("decoder", "start_id"), ("encoder", "mask_id"), ("encoder-decoder", "pad_id")] {
        let home =
            if shape == "encoder-decoder" { with_translator() } else { with_decoder(&format!("--shape {shape}")) };
        let mut all: serde_json::Value = serde_json::from_slice(&home.read("out/config.json")).unwrap();
        all["wordgrove"]["transformer"][name] = serde_json::Value::Null;
        home.write("out/config.json", all.to_string());
        let text = if shape == "encoder-decoder" { "pairs.tsv" } else { "text.txt" };
        let line = format!("transformer train {text} -o out --resume --quiet --steps 50");
        home.refuses(&line, 3, &["out/config.json", name, shape]);
    }
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
    // Whatever can be read once, and every flag by its own name.
    let piped = r#"{"d-model": 8, "n_heads": 2, "n_layers": 1, "steps": 2, "context_len": 8, "output_layer": "free"}"#;
    let line = "transformer train text.txt -o piped --config /dev/stdin --vocab-size 300 --quiet";
    home.run_with_input(&line.split(' ').collect::<Vec<_>>(), piped).done();
    let config: serde_json::Value = serde_json::from_slice(&home.read("piped/config.json")).unwrap();
    assert_eq!(config["wordgrove"]["transformer"]["output_layer"], "free");
    for (text, words) in [
        (r#"{"d_modle": 16}"#, "d_modle"),
        (r#"{"d_model": "large"}"#, "large"),
        (r#"{"steps": -1}"#, "-1"),
        (r#"{"context_len": 1, "shape": "encoder"}"#, "context_len is 1, expected 2"),
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
        ("--tokens letter", "bpe, word"),
        ("--tokens word --tokenizer text.txt", "cannot be used with"),
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
fn the_end_mark_of_other_peoples_models_ends_a_text() {
    let home = with_decoder("");
    let written = || {
        let found = home.say("transformer generate out the -n 20 --temperature 0 --json").json();
        found["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect::<Vec<_>>()
    };
    let all = written();
    assert_eq!(all.len(), 20);
    let mut config: serde_json::Value = serde_json::from_slice(&home.read("out/config.json")).unwrap();
    config.as_object_mut().unwrap().remove("wordgrove");
    config["eos_token_id"] = all[4].into();
    home.write("out/config.json", config.to_string());
    let first = all.iter().position(|id| *id == all[4]).unwrap();
    assert_eq!(written(), all[..first]);
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

#[cfg(target_os = "linux")]
#[test]
fn a_text_without_end_needs_no_more_memory_the_longer_it_is() {
    use std::io::Read;
    let home = with_decoder("--positions rotary");
    let mut child = home.command(&["transformer", "generate", "out", "the", "-n", "0", "--raw"]).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut resident_after = |n: usize| {
        out.read_exact(&mut vec![0; n]).unwrap();
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap().to_string();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
    };
    let (before, after) = (resident_after(20_000), resident_after(200_000));
    send(&child, "KILL");
    child.wait().unwrap();
    // In kB; kept in memory, the text and its ids would be 500.
    assert!(after < before + 150, "{before} kB before, {after} kB after");
}

#[test]
fn a_small_context_has_room_for_its_sinks() {
    for context_len in [2, 3, 4, 5] {
        let home = Home::with_text();
        home.say(&format!(
            "transformer train text.txt -o out --vocab-size 300 --positions rotary --context-len {context_len} --d-model 8 \
             --n-heads 2 --n-layers 1 --steps 3 --quiet --threads 1"
        ))
        .done();
        let text = home.say("transformer generate out the -n 30").done();
        assert!(text.out.len() > 20);
        let most = context_len - 1;
        home.say(&format!("transformer generate out the -n 9 --sinks {most}")).done();
        let words = format!("{context_len} of a context of {context_len}, expected 0 to {most}");
        home.refuses(&format!("transformer generate out the --sinks {context_len}"), 2, &["--sinks", &words]);
    }
}

#[test]
fn a_line_of_whole_words_ends_where_the_model_says_so() {
    let home = Home::empty();
    home.write("text.txt", "the king said\nand the queen went\n".repeat(60));
    let line = format!("transformer train text.txt -o out --tokens word --min-count 1 --quiet --steps 150 {TINY}");
    home.say(&format!("{line} --learning-rate 0.01 --warmup-steps 10 --dropout 0")).done();
    let text = home.say("transformer generate out the --temperature 0 -n 7").done().text();
    assert!(text.starts_with("the king said\nand") || text.starts_with("the queen went\nthe"), "{text:?}");
    assert!(!text.contains("<end>"), "{text:?}");
    // Words that are not in the vocabulary are left out, as they were in what was learned.
    let ids = |prompt: &str| home.say(&format!("transformer generate out {prompt} -n 8 --json")).json()["ids"].clone();
    assert_eq!(ids("and the"), ids("and shrewd the"));
    let vectors = |text: &str| home.say(&format!("transformer embed out {text}")).done().text();
    assert_eq!(vectors("the king"), vectors("the shrewd king"));
    let read = |text: &str| home.say(&format!("transformer trace out {text}")).done().text();
    assert_eq!(read("the king"), read("the shrewd king"));
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
    home.refuses("transformer translate out the", 2, &["out: is of shape decoder", "translates", "generate out"]);
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
        // Frozen, so that what was planted is what is saved.
        let flags =
            format!("--plant vectors --shape {shape} --output-layer {output} --steps 4 --freeze-embeddings 4 {TINY}");
        let ran = home.say(&format!("transformer train text.txt -o out {flags}")).done();
        let nodes = if output == "tree" { "nodes of the tree" } else { "numbers from vectors" };
        assert!(ran.err.contains("planted") && ran.err.contains(nodes), "{}", ran.err);
        let model = Model::open(&home.path("vectors")).unwrap().embeddings;
        let table = Checkpoint::open(&home.path("out")).unwrap().token_table().unwrap().unwrap();
        // Moved, turned and stretched, all alike: products of differences keep their proportions.
        let seen: Vec<usize> = (0..model.n_rows()).filter(|&row| model.counts().unwrap()[row] > 0).take(12).collect();
        let product = |of: &dyn Fn(usize) -> Vec<f32>, [a, b, c]: [usize; 3]| -> f32 {
            let (a, b, c) = (of(a), of(b), of(c));
            (0..a.len()).map(|i| (a[i] - b[i]) * (c[i] - b[i])).sum()
        };
        let places: Vec<[usize; 3]> = seen.windows(3).map(|rows| [rows[0], rows[1], rows[2]]).collect();
        let of = |rows: &dyn Fn(usize) -> Vec<f32>| places.iter().map(|&at| product(rows, at)).collect::<Vec<f32>>();
        let (before, after) = (of(&|row| model.row(row).to_vec()), of(&|row| table.row(row).to_vec()));
        let size = |products: &[f32]| products.iter().map(|x| x * x).sum::<f32>().sqrt();
        let scale = size(&after) / size(&before);
        let far = before.iter().zip(&after).map(|(x, y)| (y - scale * x).abs()).fold(0.0, f32::max);
        assert!(places.len() > 8 && far < 1e-3 * size(&after), "{kind} {shape}: {far} of {}", size(&after));
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
    home.run(&["transformer", "translate", "out", &long, "two"]).refused(2, &["TEXT", "room for 15"]);
    home.refuses(
        "transformer generate out one",
        2,
        &["out: is of shape encoder-decoder", "only decoder", "translate out"],
    );
    let ran = home.say("transformer embed out one two").done();
    assert_eq!(ran.text().split_whitespace().count(), 16);
    home.write("wrong.tsv", "one\ttwo\nno tab here\n");
    let wrong = format!("transformer train wrong.tsv -o other --shape encoder-decoder --vocab-size 280 --quiet {TINY}");
    home.refuses(&wrong, 3, &["wrong.tsv", "line 2", "no tab"]);
    // In the second of two files, by its own number.
    home.refuses(&wrong.replace("wrong.tsv", "pairs.tsv wrong.tsv"), 3, &["wrong.tsv", "line 2", "no tab"]);
    home.write("blank.tsv", "\n\n");
    let blank = wrong.replace("wrong.tsv", "pairs.tsv") + " --validation blank.tsv";
    home.refuses(&blank, 3, &["blank.tsv", "no pair to measure"]);
}

#[test]
fn a_line_that_is_too_long_costs_its_own_translation_and_no_other() {
    let home = with_translator();
    home.write("lines.txt", format!("one two\n{0}\nthree four\n{0}\n", "one ".repeat(40)));
    let ran = home.say("transformer translate out lines.txt");
    assert_eq!(ran.code, Some(3));
    for words in ["lines.txt: line 2 is too long", "the source has 41 tokens", "room for 15", "so are lines 4"] {
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
    }
    let text = ran.text();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() == 4 && lines[1].is_empty() && lines[3].is_empty(), "{lines:?}");
    let short = home.run_with_input(&["transformer", "translate", "out"], "one two\nthree four\n").done().text();
    assert_eq!(short.lines().collect::<Vec<_>>(), [lines[0], lines[2]]);
    let piped = home.run_with_input(&["transformer", "translate", "out", "-"], "one ".repeat(40));
    assert!(piped.code == Some(3) && piped.err.contains("standard input: line 1"), "{}", piped.err);
}

#[test]
fn a_word_that_is_not_known_is_translated_as_one() {
    let home = Home::empty();
    let line = |i: usize| match i % 3 {
        0 => "say now\tdire ora\n".to_string(),
        // Each of these words occurs once, and so is unknown.
        _ => format!("say rare{i} now\tdire raro{i} ora\n"),
    };
    home.write("pairs.tsv", (0..90).map(line).collect::<String>());
    home.say(&format!(
        "transformer train pairs.tsv -o out --tokens word --min-count 5 --shape encoder-decoder --quiet --steps 150 \
         --learning-rate 0.01 --warmup-steps 10 --dropout 0 --hold-out 0 {TINY}"
    ))
    .done();
    let translate = |text: &str| home.say(&format!("transformer translate out {text}")).done().text();
    assert_eq!(translate("say now"), "dire ora\n");
    assert_eq!(translate("say rare7 now"), "dire [UNK] ora\n");
}

#[test]
fn a_text_that_nothing_can_be_measured_on_is_refused() {
    let home = Home::with_text();
    for shape in ["decoder", "encoder"] {
        home.write("blank.txt", "\n");
        let line =
            format!("transformer train text.txt -o out --vocab-size 300 --shape {shape} --quiet --steps 2 {TINY}");
        home.refuses(&format!("{line} --validation blank.txt"), 3, &["blank.txt", "too short to measure"]);
    }
}

#[test]
fn a_folder_of_a_tree_without_its_counts_is_refused_by_name() {
    // C11
    let home = with_decoder("--output-layer tree");
    let file = home.path("out/model.safetensors");
    let mut all: serde_json::Value = serde_json::from_slice(&home.read("out/config.json")).unwrap();
    all["wordgrove"]["sha256"] = serde_json::json!({});
    home.write("out/config.json", all.to_string());
    let mut tensors = candle_core::safetensors::load(&file, &candle_core::Device::Cpu).unwrap();
    let counts = tensors.remove("output.counts").unwrap();
    candle_core::safetensors::save(&tensors, &file).unwrap();
    home.refuses("transformer generate out the", 3, &["out/model.safetensors", "'output.counts' is missing"]);
    tensors.insert("output.counts".into(), counts.narrow(0, 0, 7).unwrap());
    candle_core::safetensors::save(&tensors, &file).unwrap();
    home.refuses("transformer generate out the", 3, &["out/model.safetensors", "'output.counts' is I64 [7], expected"]);
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
