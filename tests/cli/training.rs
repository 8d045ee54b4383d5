//! Here belongs: what `train` reads, writes, prints and refuses, and the tokenizer's verbs.

use std::io::Write;

use flate2::write::GzEncoder;

use crate::common::{Home, SMALL, small_text};

fn train(home: &Home, text: &str, model: &str) -> Vec<u8> {
    home.run(&[&["train", text, "-o", model, "--quiet"], SMALL].concat()).done();
    home.read(format!("{model}/model.safetensors"))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

#[test]
fn training_prints_the_promised_object() {
    let home = Home::with_text();
    let ran = home.run(&[&["train", "text.txt", "-o", "model", "--json"], SMALL].concat());
    let found = ran.json();
    assert!(found["tokens"].as_u64().unwrap() > 1000);
    assert!(found["peak_rss_bytes"].as_u64().unwrap() > 100_000 || !cfg!(target_os = "linux"));
    let epochs = found["epochs"].as_array().unwrap();
    assert_eq!(epochs.len(), 2);
    for epoch in epochs {
        for name in ["train_bits", "held_out_bits", "tokens_per_second"] {
            assert!(epoch[name].as_f64().is_some_and(|number| number > 0.0), "{name}: {epoch}");
        }
    }
    let none = home.run(&["train", "text.txt", "-o", "model", "--json", "--quiet", "--hold-out", "0", "--dim", "4"]);
    assert!(none.json()["epochs"][0]["held_out_bits"].is_null());
}

#[test]
fn what_people_read_goes_to_standard_error_and_quiet_is_quiet() {
    let home = Home::with_text();
    let ran = home.run(&[&["train", "text.txt", "-o", "model"], SMALL].concat()).done();
    assert!(ran.out.is_empty());
    for words in ["epoch 1: loss", "held-out", "saved model", "wordgrove nearest model"] {
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
    }
    let ran = home.run(&[&["train", "text.txt", "-o", "model", "--quiet"], SMALL].concat()).done();
    assert!(ran.out.is_empty() && ran.err.is_empty(), "{}", ran.err);
}

#[test]
fn the_log_is_an_object_a_line() {
    let home = Home::with_text();
    home.run(&[&["train", "text.txt", "-o", "model", "--log", "log.jsonl", "--quiet"], SMALL].concat()).done();
    let log = String::from_utf8(home.read("log.jsonl")).unwrap();
    let events: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let named = |name: &str| events.iter().filter(|event| event["event"] == name).collect::<Vec<_>>();
    assert_eq!(named("epoch").len(), 2);
    assert!(named("epoch").iter().all(|epoch| epoch["train_bits"].is_f64() && epoch["held_out_bits"].is_f64()));
    assert_eq!(named("saved").len(), 1);
}

#[test]
fn the_log_is_never_written_over_a_text() {
    let home = Home::with_text();
    std::fs::create_dir(home.path("texts")).unwrap();
    home.write("texts/a.txt", small_text());
    home.refuses("train text.txt -o model --log text.txt", 2, &["--log", "text.txt", "write elsewhere"]);
    home.refuses("train texts -o model --log texts/a.txt", 2, &["--log", "texts/a.txt"]);
    home.refuses("tokenizer train text.txt -o text.txt", 2, &["--output", "text.txt", "write elsewhere"]);
    let home = Home::with_model();
    home.refuses("train text.txt -o model --log model/log.jsonl", 2, &["--log", "model/log.jsonl", "write elsewhere"]);
    home.refuses("train text.txt -o model --log no/log.jsonl", 1, &["no/log.jsonl", "no such"]);
}

#[test]
fn the_share_held_out_is_as_asked() {
    let home = Home::with_text();
    for share in ["5%", "0.05", "50%", "0"] {
        home.run(&["train", "text.txt", "-o", "model", "--quiet", "--hold-out", share, "--dim", "4"]).done();
    }
    let tokens = |share: &str| {
        let ran = home.run(&["train", "text.txt", "-o", "model", "--json", "--hold-out", share, "--dim", "4", "-q"]);
        ran.json()["epochs"][0]["held_out_bits"].as_f64()
    };
    assert!(tokens("5%").is_some());
    assert_eq!(tokens("0"), None);
}

#[test]
fn the_same_seed_and_one_thread_give_the_same_bytes() {
    let home = Home::with_text();
    let first = train(&home, "text.txt", "first");
    assert!(train(&home, "text.txt", "second") == first);
    home.run(&[&["train", "text.txt", "-o", "third", "--quiet", "--seed", "2"], SMALL].concat()).done();
    assert!(home.read("third/model.safetensors") != first);
}

#[test]
fn a_text_is_the_same_text_however_it_comes() {
    let home = Home::with_text();
    let plain = train(&home, "text.txt", "plain");
    let text = home.read("text.txt");

    home.write("text.txt.gz", gzip(&text));
    assert!(train(&home, "text.txt.gz", "gz") == plain, "gzip");
    home.write("misnamed", gzip(&text));
    assert!(train(&home, "misnamed", "misnamed-gz") == plain, "gzip without its ending (A7)");
    for (ending, bytes) in [
        ("zst", &include_bytes!("../fixtures/text/small.txt.zst")[..]),
        ("xz", &include_bytes!("../fixtures/text/small.txt.xz")[..]),
    ] {
        home.write(format!("text.txt.{ending}"), bytes);
        assert!(train(&home, &format!("text.txt.{ending}"), ending) == plain, "{ending}");
    }

    // A9
    let arguments = [&["train", "-", "-o", "piped", "--quiet"], SMALL].concat();
    home.run_with_input(&arguments, &text).done();
    assert!(home.read("piped/model.safetensors") == plain, "standard input");
    home.run_with_input(&arguments, gzip(&text)).done();
    assert!(home.read("piped/model.safetensors") == plain, "compressed standard input");

    let half = text.len() / 2 + text[text.len() / 2..].iter().position(|&byte| byte == b'\n').unwrap() + 1;
    std::fs::create_dir(home.path("folder")).unwrap();
    home.write("folder/a.txt", &text[..half]);
    home.write("folder/b.txt", &text[half..]);
    assert!(train(&home, "folder", "of-folder") == plain, "a folder");
    home.run(&[&["train", "folder/a.txt", "folder/b.txt", "-o", "of-two", "--quiet"], SMALL].concat()).done();
    assert!(home.read("of-two/model.safetensors") == plain, "two files");
}

#[test]
fn a_text_that_is_none_is_refused_by_name() {
    // A1, A7
    let home = Home::with_text();
    std::fs::create_dir(home.path("nothing")).unwrap();
    home.write("empty.txt", b"");
    home.write("blank.txt", b"  \n\n\t \r\n");
    home.write("utf16.txt", b"\xff\xfeh\0e\0l\0l\0o\0\n\0");
    home.write("program", b"\x7fELF\x02\x01\x01\0\0\0\0\0");
    let compressed = gzip(&home.read("text.txt"));
    home.write("cut.gz", &compressed[..compressed.len() / 2]);
    home.write("twice.gz", gzip(&compressed));
    home.write("false.xz", b"\0\x01\x02\xff\xfe not xz");
    let cases = [
        ("missing.txt", 1, "no such file"),
        ("nothing", 3, "no files"),
        ("empty.txt", 3, "no words found"),
        ("blank.txt", 3, "no words found"),
        ("utf16.txt", 3, "UTF-16"),
        ("program", 3, "program"),
        ("cut.gz", 3, "cut short"),
        ("twice.gz", 3, "inside"),
        ("false.xz", 3, ".xz"),
    ];
    for (name, code, words) in cases {
        for tokens in ["word", "bpe"] {
            home.refuses(&format!("train {name} -o model --quiet --tokens {tokens}"), code, &[name, words]);
        }
    }
}

#[test]
fn a_text_too_small_for_its_settings_says_which_would_do() {
    // A2
    let home = Home::empty();
    home.write("text.txt", "one two two\nthree three three\n");
    let words = ["--min-count", "vocabulary is empty", "3 times", "--min-count 1"];
    home.refuses("train text.txt -o model --tokens word", 2, &words);
    home.say("train text.txt -o model --tokens word --min-count 1 --quiet --dim 4").done();
    home.say("nearest model three").done();
    home.write("one.txt", "one");
    home.say("train one.txt -o one --quiet --dim 4").done();
}

#[test]
fn every_byte_of_a_text_is_a_token_and_comes_back() {
    // A5
    let home = Home::with_text();
    home.say("tokenizer train text.txt -o t.json --vocab-size 300 -q").done();
    let hostile = b"x\xef\xbb\xbfcaf\xc3\xa9\r.\n\0\xff\xfe\xed\xa0\x80 \x1b[31m\xe2\x80\xa8\xc2\xa0\xe2\x80\x8b\xd7\x90\n\n no end".to_vec();
    let ids = home.run_with_input(&["tokenizer", "encode", "--tokenizer", "t.json"], &hostile).done();
    let back = home.run_with_input(&["tokenizer", "decode", "--tokenizer", "t.json"], &ids.out).done();
    assert_eq!(back.out, [hostile, b"\n".to_vec()].concat());
    let lines = |text: &str| home.run_with_input(&["tokenizer", "encode", "--tokenizer", "t.json"], text).done().out;
    assert_eq!(lines("the king\r\nthe queen\r\n"), lines("the king\nthe queen\n"), "line ends are no text");
    assert_eq!(lines("\u{feff}the king\n"), lines("the king\n"), "nor is a byte order mark at the start of a file");
    home.write("bytes.txt", [0, 1, 2, 0xff, b'a', b' ', 0xc3, b'\n'].repeat(50));
    home.say("train bytes.txt -o bytes --quiet --dim 4 --epochs 1").done();
}

#[test]
fn words_that_look_like_special_tokens_are_words() {
    // A10
    let home = Home::empty();
    home.write("text.txt", "</s> <start> [PAD] <|endoftext|> [UNK] house\n".repeat(50));
    home.say("train text.txt -o model --tokens word --split whitespace --quiet --dim 4").done();
    for word in ["</s>", "<start>", "[PAD]", "<|endoftext|>", "[UNK]"] {
        home.run(&["nearest", "model", word, "-k", "3"]).done();
    }
    home.say("tokenizer train text.txt -o t.json --vocab-size 270 -q").done();
    let ids = home.run(&["tokenizer", "encode", "--tokenizer", "t.json", "--text", "<|endoftext|>"]).done().text();
    let back = home.run(&["tokenizer", "decode", "--tokenizer", "t.json", ids.trim()]).done();
    assert_eq!(back.text(), "<|endoftext|>\n");
}

#[test]
fn an_id_that_no_token_has_is_named() {
    // A13
    let home = Home::with_text();
    home.say("tokenizer train text.txt -o t.json --vocab-size 300 -q").done();
    for id in ["300", "-1", "4294967295", "4294967296", "18446744073709551616", "1.5", "x"] {
        let ran = home.run(&["tokenizer", "decode", "--tokenizer", "t.json", "1", id]);
        ran.refused(3, &[&format!("'{id}'"), "0 to 299"]);
    }
}

#[test]
fn a_tokenizer_is_reused_from_a_file_or_a_model() {
    let home = Home::with_text();
    home.say("tokenizer train text.txt -o t.json --vocab-size 300 -q").done();
    home.say("train text.txt -o first --tokenizer t.json --quiet --dim 4").done();
    home.say("train text.txt -o second --tokenizer first --quiet --dim 4").done();
    assert_eq!(home.read("first/tokenizer.json"), home.read("second/tokenizer.json"));
    home.refuses("train text.txt -o third --tokenizer text.txt", 3, &["text.txt", "is no tokenizer"]);
    home.refuses("train text.txt -o third --tokenizer none.json", 1, &["none.json", "no such file"]);
}

#[test]
fn a_memory_limit_is_kept_by_not_starting() {
    // D3
    let home = Home::with_model();
    let large = "train text.txt -o model --tokens word --min-count 1 --dim 4096 --memory-limit 500k --quiet";
    home.refuses(large, 2, &["need about", "--memory-limit is 500 kB", "--dim"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_limit_on_addresses_is_a_limit_on_memory() {
    // D3: `ulimit -v` counts in kB.
    let home = Home::with_text();
    let line = "ulimit -v 400000; $WORDGROVE train text.txt -o model --vocab-size 5000 --dim 16000 --threads 1 --quiet";
    home.write("text.txt", (0..20_000).map(|i| format!("w{i:05} ")).collect::<String>().repeat(2));
    home.shell(line).refused(2, &["need about", "--dim"]);
}

#[test]
fn standard_input_that_nobody_can_hold_is_refused_with_the_way_out() {
    // A9, C12
    let home = Home::with_text();
    let line = "TMPDIR=$PWD/none $WORDGROVE train - -o model --quiet < text.txt";
    home.shell(line).refused(1, &["TMPDIR", "standard input"]);
    home.shell("env -i $WORDGROVE train text.txt -o model --dim 4 --epochs 1 --quiet").done();
}

#[test]
fn a_rate_that_blows_up_keeps_the_old_model_and_says_what_to_try() {
    // D4
    let home = Home::with_model();
    let wild = "train text.txt -o model --tokens word --min-count 1 --dim 8 --learning-rate 10 --epochs 500 --threads 1 --quiet --sample 0";
    home.refuses(wild, 1, &["diverged", "learning rate 10", "--learning-rate 0.05", "untouched"]);
}

#[test]
fn a_destination_that_cannot_be_is_refused_before_the_work() {
    // C6, C7
    let home = Home::with_model();
    home.write("file", "precious");
    std::fs::create_dir(home.path("photos")).unwrap();
    home.write("photos/cat.jpg", "meow");
    // A text that takes for ever to come shows that nobody waits for it.
    for (path, code, words) in [
        ("file", 2, "is a file"),
        ("photos", 2, "cat.jpg"),
        (".", 2, "would be lost"),
        ("/", 2, "would be lost"),
        ("no/model", 2, "make it first"),
        ("file/model", 2, "file"),
    ] {
        home.refuses(&format!("train text.txt -o {path} --epochs 100000"), code, &[path, words]);
    }
    home.refuses("tokenizer train text.txt -o t.json --pattern ((", 2, &["--pattern", "unclosed group"]);
    for (path, words) in [("no/t.json", "no such"), ("file/t.json", "expected a folder")] {
        home.refuses(&format!("tokenizer train text.txt -o {path}"), 1, &[path, words]);
    }
    home.write("model/notes.txt", "mine");
    home.refuses("train text.txt -o model --epochs 100000", 2, &["notes.txt", "would be lost"]);
}

#[test]
fn long_words_and_long_lines_are_whole() {
    // A3, A4, A6
    let home = Home::empty();
    let long = "Straße".repeat(700);
    // One line of several chunks, each of a megabyte.
    let line = format!("{long} and {long} and house {long} a ").repeat(200);
    assert!(line.len() > 2 << 20);
    home.write("text.txt", line);
    home.say("train text.txt -o model --tokens word --quiet --dim 4 --epochs 1").done();
    home.run(&["nearest", "model", &long]).done();
    for one in ["a", "^"] {
        home.write("run.txt", one.repeat(1_000_000));
        home.say("tokenizer train run.txt -o t.json --vocab-size 280 --quiet").done();
    }
}
