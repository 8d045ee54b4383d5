//! Here belongs: flags, their aliases, their ranges, help, exit code 2.

use crate::common::{Home, SMALL};

#[test]
fn help_and_version_are_answers() {
    let home = Home::empty();
    for arguments in ["--help", "-h", "help", "help train", "train --help", "tokenizer train --help", "--version"] {
        let ran = home.say(arguments).done();
        assert!(!ran.out.is_empty() && ran.err.is_empty(), "{arguments}");
    }
    for verb in ["train", "tokenizer", "nearest", "analogy", "similarity", "odd-one-out", "evaluate", "convert", "info"]
    {
        assert!(home.say("--help").text().contains(&format!("  {verb} ")), "{verb}");
        assert!(home.say(&format!("{verb} --help")).text().contains("Usage: "), "{verb}");
    }
}

#[test]
fn a_misspelled_flag_or_verb_is_refused_with_the_right_one() {
    // D1
    let home = Home::with_text();
    home.refuses("train text.txt -o model --windo 3", 2, &["'--windo'", "'--window'"]);
    home.refuses("train text.txt -o model --min-cuont 3", 2, &["'--min-count'"]);
    home.refuses("trian text.txt -o model", 2, &["'trian'", "'train'"]);
    home.refuses("nearest text.txt the --jsno", 2, &["'--json'"]);
    home.refuses("train text.txt -o model --normalize nfd", 2, &["'nfd'", "nfc"]);
}

#[test]
fn what_is_missing_is_named() {
    let home = Home::with_text();
    home.refuses("train text.txt", 2, &["--output"]);
    home.refuses("train -o model", 2, &["TEXT"]);
    home.refuses("similarity text.txt a", 2, &["<B>"]);
    home.refuses("odd-one-out text.txt a b", 2, &["WORD"]);
    home.refuses("evaluate text.txt", 2, &["--analogies", "--pairs"]);
}

#[test]
fn a_setting_out_of_its_range_is_refused_with_the_range() {
    // D2
    let home = Home::with_text();
    let cases = [
        ("--dim", &["0", "-1", "abc", "1e12", "16385", "99999999999999999999999"][..], "1 to 16384"),
        ("--window", &["0", "-3", "1001", "x"], "1 to 1000"),
        ("--epochs", &["0", "-1", "99999999999", "1.5"], "1 to 100000"),
        ("--threads", &["0", "-1", "10000"], "1 to 1024"),
        ("--learning-rate", &["0", "-1", "NaN", "inf", "1000"], "above 0 and at most 10"),
        ("--sample", &["2", "-1", "NaN"], "0 to 1"),
        ("--hold-out", &["60%", "-1", "NaN"], "0 to 0.5"),
        ("--hold-out", &["some"], "0.1%"),
        ("--vocab-size", &["0", "255", "-5", "99999999999"], "256 to 4194304"),
        ("--min-count", &["-1", "few"], "whole number"),
        ("--max-vocab", &["0", "-1"], "1 or more"),
        ("--seed", &["-1", "x"], "0 or more"),
        ("--memory-limit", &["0", "-4G", "much"], "4G"),
        ("--architecture", &["glove"], "skip-gram"),
        ("--tokens", &["letters"], "word"),
    ];
    for (flag, values, range) in cases {
        for value in values {
            home.refuses(&format!("train text.txt -o model {flag} {value}"), 2, &[flag, range]);
        }
    }
    home.refuses("nearest text.txt the -k 0", 2, &["-k", "1 or more"]);
    home.refuses("nearest text.txt the -k -1", 2, &["-k", "1 or more"]);
    home.refuses("analogy text.txt a - b + c --top-vocab 0", 2, &["--top-vocab", "1 or more"]);
    home.refuses("analogy text.txt a - b + c --method divide", 2, &["--method", "mul"]);
    home.refuses("tokenizer train text.txt -o t.json --vocab-size 10", 2, &["--vocab-size", "256"]);
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let home = Home::with_text();
    home.say("tokenizer train text.txt -o t.json --vocab-size 300 -q").done();
    for other in ["--lowercase", "--vocab-size 500", "--tokens word", "--min-count 2", "--normalize nfc"] {
        home.refuses(&format!("train text.txt -o model --tokenizer t.json {other}"), 2, &["--tokenizer", "cannot be"]);
    }
    home.refuses("train text.txt -o model --cbow 1 --architecture skip-gram", 2, &["--cbow", "--architecture"]);
    home.refuses("train text.txt -o model -hs 1 -loss ns", 2, &["--hs", "--loss"]);
    // What word2vec.c and fastText would do and we don't is not passed over in silence.
    home.refuses("train text.txt -o model -hs 1 -negative 5", 2, &["--negative", "one loss"]);
    home.refuses("train text.txt -o model -hs 0 -negative 0", 2, &["--negative", "nothing to learn from"]);
    home.refuses("train text.txt -o model -loss softmax", 2, &["--loss", "ns"]);
    home.refuses("train text.txt -o model --loss hs --ns-exponent 1", 2, &["--ns-exponent", "--loss ns"]);
    home.refuses("train text.txt -o model --loss ns --ns-exponent 3", 2, &["ns-exponent", "-2 to 2"]);
    home.refuses("train text.txt -o model --loss ns --negative 101", 2, &["--negative", "100"]);
    home.refuses("train text.txt -o model --sg 1 --cbow-gradient mean", 2, &["--cbow-gradient", "skip-gram"]);
}

#[test]
fn flags_of_other_programs_mean_the_same() {
    let home = Home::with_text();
    let settings = |name: &str, arguments: &str| {
        home.say(&format!("train text.txt -o {name} --quiet {arguments}")).done();
        (home.read(format!("{name}/model.safetensors")), home.say(&format!("info {name} --json")).json())
    };
    let (ours, config) = settings(
        "ours",
        "--tokens word --dim 6 --window 3 --epochs 2 --learning-rate 0.03 --threads 1 --min-count 3 --sample 0.01 \
         --architecture skip-gram",
    );
    let of = &config["wordgrove"]["settings"];
    assert_eq!((of["dim"].as_u64(), of["window"].as_u64(), of["epochs"].as_u64()), (Some(6), Some(3), Some(2)));
    assert_eq!((of["learning-rate"].as_f64(), of["sample"].as_f64()), (Some(0.03), Some(0.01)));
    assert_eq!((of["architecture"].as_str(), of["min-count"].as_u64()), (Some("skip-gram"), Some(3)));
    let others = [
        "--tokens word --size 6 --ws 3 --iter 2 --alpha 0.03 --workers 1 --minCount 3 -t 0.01 --sg 1",
        "--tokens word --vector-size 6 --ws 3 --epoch 2 --lr 0.03 --thread 1 --mincount 3 --discard 0.01 --model skipgram",
        "--tokens word -size 6 -window 3 -iter 2 -alpha 0.03 -threads 1 -min-count 3 -sample 0.01 -cbow 0 -hs 1 -negative 0",
        "--tokens word -dim 6 -ws 3 -epoch 2 -lr 0.03 -thread 1 -minCount 3 -t 0.01 --cbow 0 -loss hs -neg 0",
    ];
    for (i, arguments) in others.iter().enumerate() {
        let (theirs, _) = settings(&format!("other{i}"), arguments);
        assert!(theirs == ours, "{arguments}");
    }
    let (sampled, config) = settings("ns", "--tokens word --dim 6 --epochs 1 --threads 1 --loss ns --negative 7");
    let of = &config["wordgrove"]["settings"];
    assert_eq!(
        (of["loss"].as_str(), of["negative"].as_u64(), of["ns-exponent"].as_f64()),
        (Some("ns"), Some(7), Some(0.75))
    );
    for (i, loss) in ["-hs 0 -negative 7", "-loss ns -neg 7", "--negative 7"].iter().enumerate() {
        let (theirs, _) = settings(&format!("ns{i}"), &format!("--tokens word -size 6 -iter 1 -threads 1 {loss}"));
        assert!(theirs == sampled, "{loss}");
    }
    let as_word2vec = ["-train", "text.txt", "-output", "as-word2vec", "--quiet"];
    home.run(&as_word2vec.iter().fold(vec!["train"], |mut all, one| (all.push(one), all).1)).done();
    assert!(home.path("as-word2vec/model.safetensors").exists());
}

#[test]
fn names_of_verbs_from_elsewhere_work() {
    let home = Home::with_model();
    let nearest = home.say("nearest model king -k 2").done().text();
    assert_eq!(home.say("neighbors model king -k 2").done().text(), nearest);
    let analogy = home.say("analogy model king - man + woman").done().text();
    assert_eq!(home.say("calc model king - man + woman").done().text(), analogy);
}

#[cfg(unix)]
#[test]
fn paths_of_any_bytes_work() {
    // D8
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let home = Home::with_text();
    let (latin, model) = (OsStr::from_bytes(b"caf\xe9.txt"), OsStr::from_bytes(b"mod\xe8le"));
    home.write(latin, home.read("text.txt"));
    let mut arguments = vec![OsStr::new("train"), latin, OsStr::new("-o"), model, OsStr::new("--quiet")];
    arguments.extend(SMALL.iter().map(OsStr::new));
    home.run(&arguments).done();
    home.run(&[OsStr::new("nearest"), model, OsStr::new("king")]).done();
    home.run(&[OsStr::new("convert"), model, OsStr::from_bytes(b"v\xe9.txt")]).done();

    home.write("-dash.txt", home.read("text.txt"));
    home.run(&[&["train", "-o", "dash", "--quiet"], SMALL, &["--", "-dash.txt"]].concat()).done();
    home.run(&["nearest", "--", "dash", "king"]).done();
}

#[test]
fn a_path_of_4096_bytes_is_an_error_like_others() {
    // D8: longer than the system takes, so it cannot work; it must not be cut or crash either.
    let home = Home::with_text();
    let long = "p/".repeat(2048);
    home.run(&["train", &long, "-o", "model"]).refused(1, &["name is too long"]);
    home.run(&["nearest", &long, "king"]).refused(1, &["p/p/p"]);
    home.run(&["train", "text.txt", "-o", &"p".repeat(4096)]).refused(1, &["name is too long"]);
    assert_eq!(home.names(), ["text.txt"]);
}

#[test]
fn nothing_but_a_terminal_gets_colours_or_a_line_that_moves() {
    // D10
    let home = Home::with_text();
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb"), ("CLICOLOR", "1")] {
        for arguments in ["train text.txt -o model --tokens word --epochs 1 --dim 4", "--help", "trian", "info model"] {
            let arguments: Vec<&str> = arguments.split(' ').collect();
            let output = home.command(&arguments).env(name, value).output().unwrap();
            let all = [output.stdout, output.stderr].concat();
            assert!(
                !all.contains(&b'\x1b') && !all.contains(&b'\r'),
                "{arguments:?}: {}",
                String::from_utf8_lossy(&all)
            );
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_terminal_that_wants_it_plain_gets_no_escape_codes() {
    // D10: `script` gives the program a terminal.
    let home = Home::with_text();
    let on_terminal = |environment: &str| {
        let train = "$WORDGROVE train text.txt -o model --tokens word --epochs 3 --dim 50";
        home.shell(&format!("{environment} script -qec '{train}; $WORDGROVE trian' /dev/null"))
    };
    if !on_terminal("TERM=xterm").out.contains(&0x1b) {
        eprintln!("skipped: no `script` that gives a terminal");
        return;
    }
    for environment in ["TERM=dumb", "TERM=xterm NO_COLOR=1"] {
        let ran = on_terminal(environment);
        assert!(ran.text().contains("saved model") && ran.text().contains("'trian'"), "{}", ran.text());
        assert!(!ran.out.contains(&0x1b), "{environment}: {:?}", ran.text());
    }
}
