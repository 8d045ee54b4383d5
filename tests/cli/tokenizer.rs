//! Here belongs: `tokenizer train|encode|decode|info|compare|convert`, and the forms that a tokenizer comes in.

use std::io::Write;

use crate::common::Home;

#[test]
fn the_same_ids_come_out_of_every_form_that_is_written() {
    let home = Home::with_text();
    std::fs::create_dir(home.path("gpt2")).unwrap();
    for output in ["t.json", "t.tiktoken", "gpt2/vocab.json"] {
        home.say(&format!("tokenizer train text.txt -o {output} --vocab-size 300 --pattern gpt2 -q")).done();
    }
    assert!(String::from_utf8(home.read("gpt2/merges.txt")).unwrap().starts_with("#version"));
    let ids = |form: &str| home.say(&format!("tokenizer encode text.txt --pattern gpt2 --tokenizer {form}")).text();
    assert!(ids("t.json").lines().count() > 10);
    assert_eq!(ids("t.json"), ids("t.tiktoken"));
    assert_eq!(ids("t.json"), ids("gpt2"));
    // A file and the same lines on standard input are the same.
    let piped = home.run_with_input(&["tokenizer", "encode", "--tokenizer", "t.json"], home.read("text.txt"));
    assert_eq!(piped.done().text(), ids("t.json"));
    let back = home.run_with_input(&["tokenizer", "decode", "--tokenizer", "t.json"], ids("t.json"));
    assert_eq!(back.done().out, home.read("text.txt"));
    home.refuses(
        "tokenizer train text.txt -o w.tiktoken --vocab-size 300 -q --special-token <x> --vocab-size 200",
        2,
        &["--vocab-size"],
    );
}

#[test]
fn a_tiktoken_file_is_learned_as_it_is_read_unless_another_pattern_is_asked_for() {
    let home = Home::with_text();
    home.write("digits.txt", "12345 67890\n".repeat(50));
    let train = |more: &str| home.say(&format!("tokenizer train digits.txt --vocab-size 262 -q {more}")).done();
    let ids = |more: &str| home.say(&format!("tokenizer encode digits.txt --tokenizer {more}")).done().text();
    assert_eq!(train("-o t.tiktoken").err, "");
    train("-o t.json --pattern cl100k-tiktoken");
    assert_eq!(ids("t.tiktoken"), ids("t.json"));
    let told = train("-o g.tiktoken --pattern gpt2").err;
    assert!(told.contains("g.tiktoken does not say how text is cut: give --pattern gpt2 with it"), "{told}");
    train("-o g.json");
    assert_eq!(ids("g.tiktoken --pattern gpt2"), ids("g.json"));
    assert_ne!(ids("g.tiktoken"), ids("g.json"));
}

#[test]
fn a_tokenizer_is_converted_into_every_form_or_what_is_lost_is_named() {
    let home = Home::with_text();
    std::fs::create_dir(home.path("gpt2")).unwrap();
    home.say("tokenizer train text.txt -o t.json --vocab-size 300 -q --special-token <|end|>").done();
    home.say("tokenizer convert t.json gpt2/vocab.json -q").done();
    home.say("tokenizer convert gpt2 again.json").done();
    assert_eq!(home.read("again.json"), home.read("t.json"));
    home.refuses(
        "tokenizer convert t.json t.tiktoken",
        2,
        &["t.tiktoken", "added tokens like <|end|>", "leave it out"],
    );
    assert!(!home.path("t.tiktoken").exists());
    let told = home.say("tokenizer convert t.json t.tiktoken --without-added-tokens -q").done().err;
    assert!(told.contains("--pattern gpt2"), "{told}");
    home.say("tokenizer convert t.tiktoken bare.json --pattern gpt2 -q").done();
    let ids = |form: &str| home.say(&format!("tokenizer encode text.txt --tokenizer {form}")).done().text();
    assert_eq!(ids("bare.json"), ids("t.json"));
    for (flag, output, lost) in [
        ("--lowercase", "l.tiktoken", "a normalizer"),
        ("--special-token <x>", "l.tiktoken", "added tokens like <x>"),
        ("--lowercase", "gpt2/vocab.json", "a normalizer"),
        ("--pattern cl100k", "gpt2/vocab.json", "another pattern"),
    ] {
        home.refuses(&format!("tokenizer train text.txt -o {output} --vocab-size 300 -q {flag}"), 2, &[output, lost]);
    }
    home.say("train text.txt -o words --tokens word --min-count 1 --dim 4 -q").done();
    home.refuses("tokenizer convert words w.tiktoken", 2, &["w.tiktoken", "whole words"]);
    home.refuses("tokenizer convert gpt2/vocab.json w.json", 3, &["give the folder"]);
    home.refuses("tokenizer convert t.json no/t.json", 1, &["no/t.json"]);
}

#[test]
fn a_special_token_is_not_the_name_of_a_text() {
    let home = Home::with_text();
    home.refuses("tokenizer train text.txt -o t.json -q --special-token Ġthe", 2, &["--special-token", "\" the\""]);
    home.say("tokenizer train text.txt -o t.json -q --special-token <|é|> --vocab-size 300").done();
    home.say("tokenizer info t.json").done();
}

#[test]
fn pieces_are_shown_with_their_ids_and_bytes_and_without_colours_in_a_file() {
    let home = Home::with_text();
    home.say("tokenizer train text.txt -o t.json --vocab-size 256 -q").done();
    let shown = home.run(&["tokenizer", "encode", "--tokenizer", "t.json", "--show", "--text", "a é"]).done().text();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 5, "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown}");
    for (line, end) in lines[1..].iter().zip(["0..1  a  61", "1..2  Ġ  20", "2..3  Ã  c3", "3..4  ©  a9"]) {
        assert!(line.ends_with(end), "{shown}");
    }
    // Where the text is changed, so is what the places are in.
    home.say("tokenizer train text.txt -o lower.json --vocab-size 256 -q --lowercase").done();
    let json = home.run(&["tokenizer", "encode", "--tokenizer", "lower.json", "--json", "--text", "Aİ"]).done().text();
    let lowered = "ai\u{307}";
    let offsets = r#""offsets":[[0,1],[1,2],[2,3],[3,4]]"#;
    assert!(json.contains(offsets) && json.contains(&format!(r#""text":"{lowered}""#)), "{json}");
    let json = home.run(&["tokenizer", "encode", "--tokenizer", "t.json", "--json", "--text", "ab"]).done().text();
    assert!(json.contains(r#""tokens":["a","b"],"offsets":[[0,1],[1,2]]}"#), "{json}");
}

#[test]
fn special_tokens_are_text_unless_they_are_asked_for() {
    let home = Home::with_text();
    home.say("tokenizer train text.txt -o t.json --vocab-size 300 -q --special-token <|end|>").done();
    let plain = home.run(&["tokenizer", "encode", "--tokenizer", "t.json", "--text", "<|end|>"]).done().text();
    let found = home
        .run(&["tokenizer", "encode", "--tokenizer", "t.json", "--special-tokens", "--text", "<|end|>"])
        .done()
        .text();
    assert_eq!(found, "0\n");
    assert!(plain.split(' ').count() > 3, "{plain}");
}

#[test]
fn special_tokens_are_put_around_a_text_where_the_file_wants_them_and_they_are_asked_for() {
    let home = Home::with_text();
    home.say("tokenizer train text.txt -o t.json --vocab-size 300 -q --special-token <s>").done();
    let json = String::from_utf8(home.read("t.json")).unwrap();
    let frame = r#""post_processor": {"type": "BertProcessing", "cls": ["<s>", 0], "sep": ["<s>", 0]}"#;
    home.write("framed.json", json.replace(r#""post_processor": null"#, frame));
    let ids =
        |flag: &str| home.say(&format!("tokenizer encode --tokenizer framed.json {flag} --text the")).done().text();
    let plain = ids("--special-tokens");
    assert_eq!(ids("--add-special-tokens"), format!("0 {} 0\n", plain.trim_end()));
    let wrong = frame.replace(r#"["<s>", 0]}"#, r#"["<s>", 9999]}"#);
    home.write("wrong.json", json.replace(r#""post_processor": null"#, &wrong));
    home.refuses("tokenizer encode --tokenizer wrong.json --text the", 3, &["wrong.json", "post_processor", "9999"]);
}

#[test]
fn ids_that_no_token_has_are_counted_and_cannot_be_decoded() {
    let home = Home::with_text();
    home.say("tokenizer train text.txt -o t.tiktoken --vocab-size 300 -q").done();
    let file = String::from_utf8(home.read("t.tiktoken")).unwrap();
    let last = file.lines().count() - 1;
    home.write("gap.tiktoken", file.replace(&format!(" {last}\n"), &format!(" {}\n", last + 2)));
    let info = home.say("tokenizer info gap.tiktoken").done().text();
    assert!(info.contains("ids without token 2"), "{info}");
    home.refuses(&format!("tokenizer decode --tokenizer gap.tiktoken {last}"), 3, &["no token has"]);
    home.refuses(&format!("tokenizer decode --tokenizer gap.tiktoken {}", last + 3), 3, &["expected 0 to"]);
    assert_ne!(home.say(&format!("tokenizer decode --tokenizer gap.tiktoken {}", last + 2)).done().text(), "\n");
}

#[test]
fn words_with_counts_teach_as_the_text_would() {
    let home = Home::empty();
    home.write("counts.tsv", "low\t5\nlower\t2\nnewest\t6\nwidest\t3\n");
    home.say("tokenizer train --word-counts counts.tsv -o t.json --vocab-size 258 -q").done();
    // "es" occurs 9 times, "est" as often: the first two merges of Sennrich et al. 2016, figure 1.
    let shown =
        home.run(&["tokenizer", "encode", "--tokenizer", "t.json", "--json", "--text", " newest"]).done().text();
    assert!(shown.contains(r#""est""#), "{shown}");
    home.write("bad.tsv", "low\tfive\n");
    home.refuses("tokenizer train --word-counts bad.tsv -o u.json -q", 3, &["bad.tsv", "line 1"]);
    home.write("counts.gz", gzip(&home.read("counts.tsv")));
    home.say("tokenizer train --word-counts counts.gz -o v.json --vocab-size 258 -q").done();
    assert_eq!(home.read("v.json"), home.read("t.json"));
    // A11: a piece of a word may occur in it twice.
    home.write("many.tsv", "xy xy\t9223372036854775808\n");
    home.refuses("tokenizer train --word-counts many.tsv -o u.json -q", 3, &["many.tsv", "line 1", "more than 2^64"]);
}

#[test]
fn info_and_compare_count_what_there_is() {
    let home = Home::with_text();
    home.say("tokenizer train text.txt -o a.json --vocab-size 256 -q").done();
    home.say("tokenizer train text.txt -o b.json --vocab-size 300 -q").done();
    home.write("line.txt", "abc abc\n");
    let info = home.say("tokenizer info a.json line.txt --json").done().text();
    for part in [r#""tokens":256"#, r#""bytes":7"#, r#""words":2"#, r#""tokens":7"#, r#""bytes_per_token":1.0"#] {
        assert!(info.contains(part), "{part} is not in {info}");
    }
    let both = home.say("tokenizer compare a.json b.json --json").done().text();
    for part in [r#""shared":256"#, r#""only":0"#, r#""only":44"#] {
        assert!(both.contains(part), "{part} is not in {both}");
    }
    assert!(home.say("tokenizer compare a.json b.json line.txt").text().contains("44 that the other has not"));
    home.refuses("tokenizer info line.txt", 3, &["line.txt", "no tokenizer"]);
}

#[test]
fn info_says_how_text_is_cut_and_changed_and_how_much_was_learned() {
    let home = Home::with_text();
    home.say("tokenizer train text.txt -o a.json --vocab-size 300 -q --pattern none --lowercase").done();
    let info = home.say("tokenizer info a.json").done().text();
    for part in ["  merges            44\n", "  pattern           none\n", "  text becomes      lower case\n"] {
        assert!(info.contains(part), "{part} is not in {info}");
    }
    let nfkc = r#""normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]}"#;
    let json = String::from_utf8(home.read("a.json")).unwrap();
    let with_nfkc = json.replace(r#""normalizer": {"type": "Lowercase"}"#, nfkc);
    assert_ne!(json, with_nfkc);
    home.write("b.json", with_nfkc);
    assert!(home.say("tokenizer info b.json").done().text().contains("  text becomes      NFKC, then lower case\n"));
    let info = home.say("tokenizer info b.json --json").done().text();
    for part in [r#""merges":44"#, r#""patterns":["none"]"#, r#""normalizer":{"form":"NFKC","lowercase":true}"#] {
        assert!(info.contains(part), "{part} is not in {info}");
    }
    home.run(&["tokenizer", "train", "text.txt", "-o", "c.json", "--vocab-size", "300", "-q", "--pattern", "[a-z]+"])
        .done();
    assert!(home.say("tokenizer info c.json").done().text().contains("  pattern           [a-z]+\n"));
}

#[test]
fn a_pattern_is_refused_where_the_file_has_its_own() {
    let home = Home::with_text();
    home.say("tokenizer train text.txt -o t.json --vocab-size 300 -q").done();
    for verb in
        ["encode --text x --tokenizer t.json", "decode 0 --tokenizer t.json", "info t.json", "compare t.json t.json"]
    {
        home.refuses(&format!("tokenizer {verb} --pattern none"), 2, &["--pattern", "t.json", "itself", "gpt2"]);
        home.say(&format!("tokenizer {verb} --pattern gpt2")).done();
    }
    assert!(home.say("tokenizer encode --help").done().text().contains("none or a regular expression"));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_is_encoded_is_read_as_what_is_trained_on() {
    // A1, A5, A7
    let home = Home::with_text();
    home.say("tokenizer train text.txt -o t.json --vocab-size 300 -q").done();
    let encode = |what: &str| home.say(&format!("tokenizer encode --tokenizer t.json {what}"));
    let ids = encode("text.txt").done().text();
    let text = home.read("text.txt");
    std::fs::create_dir(home.path("folder")).unwrap();
    home.write("folder/text.gz", gzip(&text));
    home.write("bom.txt", [b"\xEF\xBB\xBF", &text[..]].concat());
    for what in ["folder/text.gz", "folder", "bom.txt", "-- text.txt"] {
        assert_eq!(encode(what).done().text(), ids, "{what}");
    }
    let piped = home.run_with_input(&["tokenizer", "encode", "--tokenizer", "t.json"], gzip(&text));
    assert_eq!(piped.done().text(), ids);
    home.write("wide.txt", b"\xff\xfea\0\n\0");
    home.write("none.txt", "");
    for (what, code, words) in [
        ("wide.txt", 3, &["wide.txt", "UTF-16"][..]),
        ("missing.txt", 1, &["missing.txt: no such file", "--text"]),
        ("none.txt", 3, &["none.txt", "empty"]),
        ("text.txt --text x", 2, &["--text"]),
    ] {
        home.refuses(&format!("tokenizer encode --tokenizer t.json {what}"), code, words);
    }
    home.write("ids.gz", gzip(ids.as_bytes()));
    assert_eq!(home.say("tokenizer decode --tokenizer t.json ids.gz").done().out, text);
    home.refuses("tokenizer decode --tokenizer t.json missing.txt", 1, &["missing.txt: no such file"]);
    home.refuses("tokenizer decode --tokenizer t.json 1 x", 3, &["'x' is not a token id"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_long_line_is_encoded_in_little_memory() {
    // A3: six million ids, once as numbers and once as digits; a string for each would be 300 MB.
    let home = Home::with_text();
    home.say("tokenizer train text.txt -o t.json --vocab-size 256 -q").done();
    home.write("line.txt", vec![b'a'; 6_000_000]);
    let encode = "ulimit -v 250000; RAYON_NUM_THREADS=1 $WORDGROVE tokenizer encode --tokenizer t.json line.txt";
    assert_eq!(home.shell(encode).done().text().split(' ').count(), 6_000_000);
}
