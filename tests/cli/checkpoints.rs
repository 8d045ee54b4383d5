//! Here belongs: runs that end before their time, and what goes on from there.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::common::{Home, send, small_text, wait_for};

/// Trains a text of several shards with a checkpoint at the end of each, but for what `how` says otherwise.
fn command(how: &str) -> Vec<String> {
    let usual = [
        ("--tokens", "word"),
        ("--min-count", "1"),
        ("--dim", "16"),
        ("--epochs", "3"),
        ("--sample", "0"),
        ("--hold-out", "1%"),
        ("--checkpoint-every", "0.000001"),
    ];
    let mut all = "train long.txt -o model".to_string();
    for (flag, value) in usual.into_iter().filter(|(flag, _)| !how.contains(flag)) {
        all += &format!(" {flag} {value}");
    }
    format!("{all} {how}").split_whitespace().map(String::from).collect()
}

/// Half a million words, so that an epoch has six shards.
fn home() -> Home {
    let home = Home::empty();
    home.write("long.txt", small_text().repeat(220));
    home
}

/// What an uninterrupted run saves.
fn whole(home: &Home, how: &str) -> Vec<u8> {
    home.run(&command(&format!("{how} --quiet"))).done();
    assert!(!home.path("model.checkpoint").exists(), "a run that has ended needs no checkpoints");
    let model = home.read("model/model.safetensors");
    std::fs::remove_dir_all(home.path("model")).unwrap();
    model
}

/// The generations that are there, oldest first.
fn generations(home: &Home) -> Vec<u64> {
    let Ok(entries) = std::fs::read_dir(home.path("model.checkpoint")) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut numbers: Vec<u64> = names.filter_map(|name| name.strip_suffix(".checkpoint")?.parse().ok()).collect();
    numbers.sort();
    numbers
}

/// Starts a run and kills it when there is a checkpoint of this number or more; returns whether it was so.
fn killed_at(home: &Home, arguments: &[String], generation: u64) -> bool {
    let mut child = home.command(arguments).stderr(Stdio::null()).spawn().unwrap();
    loop {
        if generations(home).last().is_some_and(|&newest| newest >= generation) {
            // Not by `send`: until another process is up, there are more checkpoints.
            child.kill().unwrap();
            return child.wait().unwrap().code() != Some(0);
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::yield_now();
    }
}

/// Leaves a run with at least two generations.
fn interrupted(how: &str) -> Home {
    let home = home();
    assert!(killed_at(&home, &command(how), 3), "it ended too early");
    assert!(generations(&home).len() >= 2);
    home
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_with_the_same_bytes() {
    // C1
    for how in ["--threads 1", "--threads 1 --architecture skip-gram --loss ns", "--threads 2 --deterministic --seed 3"]
    {
        let home = home();
        let expected = whole(&home, how);
        let mut arguments = command(how);
        let mut n_killed = 0;
        for at in [1, 3, 4, 8, 9, 14] {
            n_killed += u32::from(killed_at(&home, &arguments, at));
            arguments = command("--resume");
            if generations(&home).is_empty() {
                break;
            }
        }
        // How many of the kills came in time is chance; `tests/training.rs` leaves nothing to it.
        assert!(n_killed >= 1, "{how}: never killed");
        if !generations(&home).is_empty() {
            home.run(&["train", "--resume", "-o", "model", "--quiet"]).done();
        }
        assert!(home.read("model/model.safetensors") == expected, "{how}");
        assert_eq!(home.names(), ["long.txt", "model"]);
    }
}

#[test]
fn a_run_that_is_interrupted_says_how_to_go_on_and_its_losses_are_the_same() {
    // D5
    let home = home();
    let how = "--threads 1 --checkpoint-every 10";
    let reports = |home: &Home| {
        let config: serde_json::Value = serde_json::from_slice(&home.read("model/config.json")).unwrap();
        let mut ours = config["wordgrove"].clone();
        for epoch in ours["epochs"].as_array_mut().unwrap() {
            for timing in ["seconds", "tokens_per_second"] {
                epoch.as_object_mut().unwrap().remove(timing).unwrap();
            }
        }
        ours
    };
    home.run(&command(&format!("{how} --quiet"))).done();
    let expected = reports(&home);
    std::fs::remove_dir_all(home.path("model")).unwrap();

    let mut child = home.command(&command(how)).spawn().unwrap();
    wait_for(&mut child, "epoch 1:");
    send(&child, "INT");
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{err}");
    for words in ["interrupted in epoch", "1.checkpoint", "wordgrove train --resume -o model"] {
        assert!(err.contains(words), "'{words}' is not in: {err}");
    }
    assert!(!home.path("model").exists());
    let ran = home.say("train --resume -o model").done();
    assert!(ran.err.contains("going on in epoch"), "{}", ran.err);
    assert_eq!(reports(&home), expected);
}

#[test]
fn any_number_of_threads_gives_the_same_bytes_when_asked() {
    let home = home();
    for how in [
        "--architecture skip-gram --epochs 1",
        "--architecture cbow --epochs 1",
        "--architecture skip-gram --loss ns --negative 3 --epochs 1",
    ] {
        let models: Vec<Vec<u8>> =
            [1, 2, 3, 8].map(|threads| whole(&home, &format!("{how} --deterministic --threads {threads}"))).to_vec();
        assert!(models.windows(2).all(|pair| pair[0] == pair[1]), "{how}");
    }
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_serves() {
    // C3, C4
    let home = interrupted("--threads 1");
    let newest = format!("model.checkpoint/{}.checkpoint", generations(&home).last().unwrap());
    let whole_file = home.read(&newest);
    let expected = {
        let home = self::home();
        whole(&home, "--threads 1")
    };
    let mut flipped = whole_file.clone();
    flipped[whole_file.len() / 2] ^= 1;
    for damaged in [&whole_file[..whole_file.len() - 1], &whole_file[..100], &[], &flipped, b"not one of ours"] {
        home.write(&newest, damaged);
        let copy = Home::empty();
        copy_all(&home, &copy);
        let ran = copy.say("train --resume -o model").done();
        let warning = ran.err.lines().find(|line| line.starts_with("warning: ")).unwrap_or_default();
        assert!(warning.contains(&newest) && warning.contains("damaged"), "{}", ran.err);
        assert!(copy.read("model/model.safetensors") == expected);
        assert_eq!(copy.names(), ["long.txt", "model"]);
    }
    // One that has vanished is not missed.
    std::fs::remove_file(home.path(&newest)).unwrap();
    let copy = Home::empty();
    copy_all(&home, &copy);
    copy.say("train --resume -o model --quiet").done();
    assert!(copy.read("model/model.safetensors") == expected);
    // All of them: nothing is touched.
    for generation in generations(&home) {
        home.write(format!("model.checkpoint/{generation}.checkpoint"), &whole_file[..1000]);
    }
    home.refuses("train --resume -o model", 3, &["no checkpoint can be read", "damaged", "--start-over"]);
}

/// Copies the texts and the checkpoints, and makes the checkpoints forget where the texts were.
fn copy_all(from: &Home, to: &Home) {
    std::fs::create_dir(to.path("model.checkpoint")).unwrap();
    for (path, bytes) in from.everything() {
        let name = path.strip_prefix(from.path("")).unwrap();
        if name != Path::new("model.checkpoint") {
            to.write(name, bytes);
        }
    }
}

#[test]
fn what_does_not_agree_with_the_run_is_refused_by_name() {
    // C5
    let home = interrupted("--threads 1 --lowercase");
    home.write("other.txt", small_text().repeat(219));
    home.write("words.txt", "a b c\na b c\n");
    home.say("tokenizer train words.txt -o other.json --vocab-size 260 --quiet").done();
    for (flags, words) in [
        ("--dim 32", &["--dim: 32 was given, the run has 16", "--start-over"][..]),
        ("--window 7 --seed 9", &["--window: 7", "--seed: 9"]),
        ("-cbow 0", &["--architecture: skip-gram was given, the run has cbow"]),
        ("--loss ns", &["--loss: ns"]),
        ("--threads 2", &["--threads: 2 was given, the run has 1"]),
        ("--deterministic", &["--deterministic: true"]),
        ("--tokens bpe", &["--tokens: bpe was given, the run has word"]),
        ("--min-count 2", &["--min-count"]),
        ("--vocab-size 300", &["--vocab-size"]),
        ("--normalize nfc", &["--normalize"]),
        ("--tokenizer other.json", &["--tokenizer"]),
        ("other.txt", &["the text is not that of the run"]),
        ("--start-over", &["--resume"]),
    ] {
        home.refuses(&format!("train --resume -o model --quiet {flags}"), 2, words);
    }
    // A run is not lost by a slip, and can be given up.
    home.refuses("train long.txt -o model", 2, &["unfinished run", "--resume", "--start-over"]);
    // What agrees may be said again.
    home.run(&command("--resume --threads 1 --lowercase --quiet")).done();
    home.refuses("train --resume -o model", 2, &["no unfinished run", "model.checkpoint"]);

    let home = interrupted("--threads 2");
    home.say("train --resume -o model --quiet --threads 3 long.txt").done();
    assert!(killed_at(&home, &command("--threads 2"), 1));
    home.run(&command("--start-over --quiet --threads 2")).done();
    assert_eq!(home.names(), ["long.txt", "model"]);
}

#[test]
fn a_checkpoint_of_another_version_is_refused_and_left() {
    // C5
    let home = interrupted("--threads 1");
    for generation in generations(&home) {
        let name = format!("model.checkpoint/{generation}.checkpoint");
        let bytes = home.read(&name);
        let version = format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
        let at = bytes.windows(version.len()).position(|window| window == version.as_bytes()).unwrap();
        let mut other = bytes.clone();
        other[at + version.len() - 2] = b'9';
        // With a checksum that fits: this is what another version would have written.
        let body = &other[..other.len() - 64];
        home.write("body", body);
        let sum = home.shell("sha256sum body").done().text();
        let sealed = [body, &sum.as_bytes()[..64]].concat();
        home.write(&name, sealed);
    }
    home.refuses("train --resume -o model", 3, &["was written by wordgrove", "go on with the one that wrote it"]);
}

#[test]
fn standard_input_has_to_be_given_again() {
    let home = home();
    let text = home.read("long.txt");
    let mut arguments = command("--threads 1");
    arguments[1] = "-".to_string();
    let mut child =
        home.command(&arguments).stdin(std::fs::File::open(home.path("long.txt")).unwrap()).spawn().unwrap();
    wait_for(&mut child, "epoch 1:");
    send(&child, "KILL");
    child.wait().unwrap();
    home.refuses("train --resume -o model", 2, &["--resume", "give the same texts again"]);
    home.run_with_input(&["train", "-", "--resume", "-o", "model", "--quiet"], text).done();
}

#[test]
fn two_runs_do_not_make_one_model_at_once() {
    // C9
    let home = home();
    let endless = command("--threads 1 --epochs 100000");
    let mut child = home.command(&endless).spawn().unwrap();
    wait_for(&mut child, "epoch 1:");
    for arguments in ["train long.txt -o model", "train --resume -o model", "train long.txt -o model --start-over"] {
        home.say(arguments).refused(1, &["model.checkpoint", "another run"]);
    }
    send(&child, "KILL");
    child.wait().unwrap();
    // The lock dies with its holder.
    home.say("train long.txt -o model --quiet --start-over --epochs 1 --dim 8").done();
}

#[cfg(unix)]
#[test]
fn a_checkpoint_that_cannot_be_written_does_not_stop_the_work() {
    // C6. The model is smaller than a checkpoint of it, which also holds its losses; the unit of `ulimit -f` is 512
    // bytes or 1 KiB, so the limit lies below both.
    let home = home();
    let expected = whole(&home, "--threads 1");
    assert!(killed_at(&home, &command("--threads 1"), 3));
    // What it was writing when it was killed may go, and does; what was whole stays.
    let whole_files = || -> Vec<(PathBuf, Vec<u8>)> {
        let is_half = |path: &Path| path.file_name().unwrap().to_string_lossy().starts_with('.');
        home.everything().into_iter().filter(|(path, _)| !is_half(path)).collect()
    };
    let before = whole_files();
    let ran = home.shell("ulimit -f 1; $WORDGROVE train --resume -o model --checkpoint-every 0.000001");
    ran.refused(1, &["warning: no checkpoint could be written", "ulimit -f"]);
    // The model did not fit either; but nothing that was there is lost.
    assert!(whole_files() == before, "{:?}", home.names());
    home.say("train --resume -o model --quiet").done();
    assert!(home.read("model/model.safetensors") == expected);
}

#[test]
fn without_checkpoints_nothing_lies_beside_the_model() {
    let home = home();
    let mut child = home.command(&command("--threads 1 --checkpoint-every 0")).spawn().unwrap();
    wait_for(&mut child, "epoch 1:");
    send(&child, "INT");
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(130) && err.contains("nothing was saved"), "{err}");
    assert_eq!(home.names(), ["long.txt"]);
}
