//! Here belongs: files and folders of vectors, converted, broken, or something else.

use std::fs;

use crate::common::Home;

/// Words and numbers that are easy to get wrong: digits, signs, subnormals, letters beyond ASCII.
const VECTORS: &str = "4 3\nking 1 -0.1 1e-45\ncafé 0.33333334 16777216 -3.4028235e38\n北京 0.1 0.2 0.3\nzero 0 0 0\n";

#[test]
fn vectors_come_back_bit_for_bit_through_every_format() {
    let home = Home::with_model();
    home.write("v.txt", VECTORS);
    for step in ["v.txt v.bin", "v.bin w.txt", "w.txt w.bin", "w.txt folder", "folder x.bin", "folder x.txt"] {
        home.say(&format!("convert {step} --quiet")).done();
    }
    assert_eq!(home.read("v.bin"), home.read("w.bin"));
    assert_eq!(home.read("v.bin"), home.read("x.bin"));
    assert_eq!(home.read("w.txt"), home.read("x.txt"));

    for step in ["model m.txt", "model m.bin", "m.txt m2.bin", "m.bin m2.txt"] {
        home.say(&format!("convert {step} --quiet")).done();
    }
    assert_eq!(home.read("m.bin"), home.read("m2.bin"));
    assert_eq!(home.read("m.txt"), home.read("m2.txt"));
    home.say("convert v.txt other --to word2vec-bin --quiet").done();
    assert_eq!(home.read("other"), home.read("v.bin"));
}

#[test]
fn converting_says_how_many_vectors_it_wrote() {
    let home = Home::with_model();
    let ran = home.say("convert model v.txt").done();
    let n = String::from_utf8(home.read("v.txt")).unwrap().lines().count() - 1;
    assert!(ran.err.contains(&format!("{n} vectors of 8")), "{}", ran.err);
}

#[test]
fn a_file_may_be_converted_onto_itself() {
    // C8: it is mapped while it is replaced.
    let home = Home::empty();
    let rows: String = (0..5000).map(|i| format!("word{i} {i} 0.5 -{i}.25\n")).collect();
    home.write("v.txt", format!("5000 3\n{rows}"));
    home.say("convert v.txt copy.txt --quiet").done();
    home.say("convert v.txt copy.bin --quiet").done();
    home.say("convert v.txt v.txt --quiet").done();
    assert!(home.read("v.txt") == home.read("copy.txt"));
    home.say("convert v.txt v.txt --to word2vec-bin --quiet").done();
    assert!(home.read("v.txt") == home.read("copy.bin"));
    assert_eq!(home.names(), ["copy.bin", "copy.txt", "v.txt"]);
}

#[test]
fn a_destination_that_cannot_be_written_is_refused_and_nothing_is_lost() {
    // C6, C7
    let home = Home::with_model();
    home.write("v.txt", VECTORS);
    home.write("notes", "mine");
    fs::create_dir(home.path("photos")).unwrap();
    home.write("photos/cat.jpg", "meow");
    for (out, code, words) in [
        ("no/v.bin", 1, "no such"),
        ("notes/v.bin", 1, "expected a folder"),
        ("photos", 3, "cat.jpg"),
        ("v.doc", 2, "--to"),
        ("photos --to word2vec-bin", 3, "is a folder"),
        ("notes --to model", 3, "is a file"),
    ] {
        home.refuses(&format!("convert v.txt {out}"), code, &[words]);
    }
    home.refuses("convert model copy", 2, &["copy the folder"]);
}

#[test]
fn a_broken_text_file_is_refused_with_row_and_reason() {
    // B1 to B6, B9
    let home = Home::empty();
    let cases: &[(&str, &[&str])] = &[
        ("99999999999999 4\nking 1 2 3 4\n", &["99999999999999"]),
        ("18446744073709551615 18446744073709551615\nking 1\n", &["header"]),
        ("-3 2\nking 1 2\n", &[]),
        ("0 0\nking 1 2\n", &[]),
        ("3 2\nking 1 2\nqueen 1 2\n", &["3 rows", "found 2", "--salvage"]),
        ("1 2\nking 1 2\nqueen 1 2\n", &["1 row", "--salvage"]),
        ("2 2\nking 1 2\nqueen 1\n", &["row 2"]),
        ("2 2\nking 1 2\nqueen 1 2 3\n", &["row 2"]),
        ("2 2\nking 1 2\nqueen 1 one\n", &["row 2", "one"]),
        ("2 2\nking 1 2\nqueen 1,5 2\n", &["row 2", "1,5"]),
        ("2 2\nking 1 2\nqueen nan 2\n", &["row 2", "--drop-nonfinite"]),
        ("2 2\nking 1 2\nqueen inf 2\n", &["row 2", "--drop-nonfinite"]),
        ("2 2\nking 1 2\nqueen 1e999 2\n", &["row 2"]),
        ("2 2", &[]),
        ("", &["empty"]),
        ("Once upon a time\nthere was a king.\n", &["not a file of vectors"]),
    ];
    for (text, words) in cases {
        home.write("v.txt", text);
        let words: Vec<&str> = [&["v.txt"], *words].concat();
        home.refuses("nearest v.txt king", 3, &words);
        home.refuses("convert v.txt out.bin", 3, &words);
    }
    home.write("v.txt", "2 2\nking 1 2\nking 3 4\n");
    let ran = home.say("similarity v.txt king king").done();
    assert!(ran.err.starts_with("warning: ") && ran.err.contains("king") | ran.err.contains("1"), "{}", ran.err);
}

#[test]
fn what_is_whole_of_a_broken_file_is_read_on_request() {
    // B2, B5
    let home = Home::empty();
    home.write("v.txt", "9 2\nking 1 2\nqueen 1 2.5\nbad nan 1\ncut 1");
    let ran = home.say("nearest v.txt king --salvage --drop-nonfinite").done();
    assert!(ran.text().contains("queen") && ran.err.lines().all(|line| line.starts_with("warning: ")), "{}", ran.err);
    home.refuses("nearest v.txt king --drop-nonfinite", 3, &["--salvage"]);
}

#[test]
fn a_binary_file_cut_anywhere_is_refused() {
    // B2, B8: every length, from no header to the last number.
    let home = Home::empty();
    home.write("v.txt", "3 2\nking 1 2\nqueen 3 4\nman 5 6\n");
    home.say("convert v.txt v.bin --quiet").done();
    let whole = home.read("v.bin");
    let last_number = whole.len() - usize::from(whole.ends_with(b"\n"));
    for end in (0..last_number).step_by(3).chain([last_number - 1]) {
        home.write("cut.bin", &whole[..end]);
        home.say("nearest cut.bin king").refused(3, &["cut.bin"]);
    }
    for (bytes, words) in [
        ([&b"99999999 300\n"[..], b"king \0\0\0\0"].concat(), "99999999"),
        ([&whole[..], &whole[..]].concat(), "cut.bin"),
        ([&b"2 2\n"[..], &[b'w'; 200_000], b" \0\0\0\0\0\0\0\0"].concat(), "cut.bin"),
    ] {
        home.write("cut.bin", bytes);
        home.say("nearest cut.bin king").refused(3, &[words]);
    }
}

#[test]
fn a_file_is_what_its_bytes_say() {
    // B14
    let home = Home::empty();
    home.write("v.txt", VECTORS);
    home.say("convert v.txt v.bin --quiet").done();
    let answer = home.say("nearest v.txt king").done().text();
    home.write("text.bin", VECTORS);
    home.write("binary.txt", home.read("v.bin"));
    home.write("noending", home.read("v.bin"));
    for name in ["text.bin", "binary.txt", "noending"] {
        assert_eq!(home.say(&format!("nearest {name} king")).done().text(), answer, "{name}");
    }
}

#[test]
fn files_of_others_are_refused_by_name_with_the_way_to_convert_them() {
    // B14, B15
    let home = Home::empty();
    for (bytes, words) in [
        (&b"\x80\x04\x95\x10\0\0\0"[..], &["pickle", "never read", "save_word2vec_format"][..]),
        (b"PK\x03\x04archive", &["zip", "safetensors"]),
        (b"\x1f\x8b\x08\0\0", &["gzip -dk"]),
        (b"\x28\xb5\x2f\xfd\0", &["zstd -dk"]),
        (b"\xfd7zXZ\0\0", &["xz -dk"]),
        (b"\x93NUMPY\x01\0", &["numpy"]),
        (b"FiFu\0\0\0\0", &["finalfusion"]),
        (b"\xba\x16\x4f\x2f\x0c\0\0\0", &["fastText"]),
        (b"GGUF\x03\0\0\0", &["GGUF"]),
        (b"{\"version\": \"1.0\"}", &["JSON"]),
    ] {
        home.write("v.txt", bytes);
        home.refuses("nearest v.txt king", 3, words);
        home.refuses("convert v.txt out", 3, words);
    }
}

#[test]
fn a_word_that_is_not_utf_8_is_kept_and_shown() {
    // B7
    let home = Home::empty();
    let vector = [1.0f32, 2.0].map(f32::to_le_bytes).concat();
    home.write("v.bin", [&b"2 2\ncaf\xe9 "[..], &vector, b"\nking ", &vector, b"\n"].concat());
    let found = home.say("nearest v.bin king").done().text();
    assert!(found.contains("caf"), "{found}");
    home.say("convert v.bin w.bin --quiet").done();
    assert!(home.read("w.bin").windows(4).any(|bytes| bytes == b"caf\xe9"));
}

#[test]
fn a_model_without_one_of_its_files_is_refused_by_the_name_of_the_file() {
    let home = Home::with_model();
    for name in ["model.safetensors", "tokenizer.json"] {
        let bytes = home.read(format!("model/{name}"));
        fs::remove_file(home.path(format!("model/{name}"))).unwrap();
        for question in ["nearest model king", "info model", "convert model v.txt"] {
            let code = if name == "tokenizer.json" { 1 } else { 3 };
            home.refuses(question, code, &[name]);
        }
        home.write(format!("model/{name}"), bytes);
    }
    // These are for others to read: answers come without them, and `info` tells.
    for name in ["modules.json", "tokenizer_config.json"] {
        let bytes = home.read(format!("model/{name}"));
        fs::remove_file(home.path(format!("model/{name}"))).unwrap();
        home.say("nearest model king").done();
        home.refuses("info model", 1, &[name]);
        home.write(format!("model/{name}"), bytes);
    }
    fs::remove_file(home.path("model/config.json")).unwrap();
    home.say("nearest model king").done();
    assert!(home.say("info model").done().text().contains("checksums: none"));
    fs::create_dir(home.path("empty")).unwrap();
    home.refuses("nearest empty king", 3, &["empty", "not a model"]);
}

#[test]
fn a_model_with_a_file_cut_short_is_refused_by_the_name_of_the_file() {
    let home = Home::with_model();
    for name in ["model.safetensors", "tokenizer.json", "config.json", "modules.json", "tokenizer_config.json"] {
        let path = format!("model/{name}");
        let bytes = home.read(&path);
        for end in [0, 1, 7, bytes.len() / 2, bytes.len() - 1] {
            home.write(&path, &bytes[..end]);
            home.refuses("info model", 3, &[name]);
            // The last byte of tokenizer.json is a line end, which only the checksum misses.
            if end <= bytes.len() / 2 && ["model.safetensors", "tokenizer.json", "config.json"].contains(&name) {
                home.refuses("nearest model king", 3, &[name]);
            }
        }
        home.write(&path, bytes);
    }
    home.say("info model").done();
}

#[test]
fn a_changed_byte_anywhere_is_found_by_info() {
    let home = Home::with_model();
    for name in ["model.safetensors", "tokenizer.json", "modules.json", "tokenizer_config.json"] {
        let path = format!("model/{name}");
        let bytes = home.read(&path);
        for place in [0, 5, 9, 70, bytes.len() / 2, bytes.len() - 2] {
            let Some(_) = bytes.get(place) else { continue };
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            home.write(&path, &changed);
            let ran = home.say("info model");
            assert!(ran.code == Some(3) || ran.code == Some(1), "{name} at {place}: {:?} {}", ran.code, ran.err);
            assert!(ran.out.is_empty() && ran.err.contains(name), "{name} at {place}: {}", ran.err);
            // Whatever a query makes of it, it ends, and says what it says without a panic.
            home.say("nearest model king");
        }
        home.write(&path, &bytes);
    }
    let mut tensors = home.read("model/model.safetensors");
    let last = tensors.len() - 1;
    tensors[last] ^= 1;
    home.write("model/model.safetensors", tensors);
    home.refuses("info model", 3, &["model.safetensors", "checksum differs"]);
}

#[test]
fn a_model_with_the_tokenizer_of_another_is_refused_with_both_numbers() {
    // B17
    let home = Home::with_model();
    home.say("tokenizer train text.txt -o model/tokenizer.json --vocab-size 300 --quiet").done();
    for question in ["nearest model king", "info model", "convert model v.txt", "evaluate model --pairs text.txt"] {
        let ran = home.say(question);
        if !question.starts_with("evaluate") {
            ran.refused(3, &["300 tokens", "rows"]);
        }
    }
}
