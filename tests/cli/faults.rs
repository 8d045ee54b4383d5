//! Here belongs: full disks, folders that cannot be written, interrupts and kills, while something is at stake.

use std::process::Command;

use crate::common::{Home, SMALL, send, small_text, wait_for};

/// Training that lasts until somebody ends it.
const ENDLESS: [&str; 16] = [
    "train",
    "text.txt",
    "-o",
    "model",
    "--tokens",
    "word",
    "--min-count",
    "1",
    "--dim",
    "8",
    "--epochs",
    "100000",
    "--threads",
    "2",
    "--log",
    "log.jsonl",
];

#[test]
fn ctrl_c_ends_training_and_leaves_the_old_model() {
    // D5
    let home = Home::with_model();
    let before = home.read("model/model.safetensors");
    let mut child = home.command(&ENDLESS).spawn().unwrap();
    wait_for(&mut child, "epoch 1");
    send(&child, "INT");
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{err}");
    assert!(output.stdout.is_empty());
    assert_eq!(err.matches("error: interrupted").count(), 1, "{err}");
    assert!(home.read("model/model.safetensors") == before);
    assert_eq!(home.names(), ["log.jsonl", "model", "model.checkpoint", "text.txt"]);
    home.say("info model").done();
}

#[test]
fn a_killed_training_leaves_the_old_model_and_the_next_one_succeeds() {
    // C1: before the first checkpoint there is nothing to resume, and nothing in the way
    let home = Home::with_model();
    let before = home.read("model/model.safetensors");
    let mut child = home.command(&ENDLESS).spawn().unwrap();
    wait_for(&mut child, "epoch 1");
    send(&child, "KILL");
    child.wait().unwrap();
    assert!(home.read("model/model.safetensors") == before);
    home.run(&[&["train", "text.txt", "-o", "model", "--quiet", "--seed", "2"], SMALL].concat()).done();
    assert!(home.read("model/model.safetensors") != before);
    home.say("info model").done();
}

#[test]
fn killed_at_any_moment_of_a_run_there_is_a_whole_model() {
    // C1, C7: the whole run takes a few tenths of a second, so the kills fall into learning, training and saving.
    let home = Home::with_model();
    let arguments = [&["train", "text.txt", "-o", "model", "--quiet"], SMALL].concat();
    for delay_ms in [5, 20, 35, 50, 65, 80, 100, 120, 150, 200] {
        let mut child = home.command(&arguments).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay_ms));
        // It may have ended by itself.
        let _ = child.kill();
        child.wait().unwrap();
        let ran = home.say("info model");
        assert_eq!(ran.code, Some(0), "killed after {delay_ms} ms: {}", ran.err);
    }
    home.run(&arguments).done();
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_device_is_an_error_and_not_a_shorter_file() {
    // C6
    let home = Home::with_model();
    for line in [
        "$WORDGROVE nearest model king > /dev/full",
        "$WORDGROVE nearest model king --json > /dev/full",
        "$WORDGROVE info model > /dev/full",
        "$WORDGROVE convert model /dev/full --to word2vec-text",
        "$WORDGROVE convert model /dev/full --to word2vec-bin",
        "$WORDGROVE tokenizer train text.txt -o /dev/full --vocab-size 300 --quiet",
    ] {
        home.shell(line).refused(1, &["no space left"]);
    }
    // What was trained is not lost because its log was.
    let ran = home.run(&[&["train", "text.txt", "-o", "new", "--log", "/dev/full", "--quiet"], SMALL].concat());
    ran.refused(1, &["/dev/full", "no space left"]);
    home.say("info new").done();
}

#[cfg(unix)]
#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_leaves_the_old_ones() {
    // C6: RLIMIT_FSIZE, which by itself kills the process. The unit of `ulimit -f` is 512 bytes or 1 KiB.
    let home = Home::with_model();
    home.say("convert model v.txt --quiet").done();
    let text: String = (0..2000).map(|i| format!("word{i} word{} word{}\n", i * 7 % 2000, i * 13 % 2000)).collect();
    home.write("long.txt", text);
    let before = home.everything();
    for line in [
        "ulimit -f 1; $WORDGROVE convert model v.txt",
        "ulimit -f 1; $WORDGROVE convert model v.bin",
        "ulimit -f 20; $WORDGROVE train long.txt -o model --tokens word --min-count 1 --dim 100 --epochs 1 --quiet",
        "ulimit -f 4; $WORDGROVE tokenizer train long.txt -o v.txt --vocab-size 600 --quiet",
    ] {
        home.shell(line).refused(1, &["ulimit -f"]);
        assert!(home.everything() == before, "{line}: {:?}", home.names());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_found_and_leaves_what_was_there() {
    // C6: a real one of 200 kB, where we may mount one.
    let home = Home::with_text();
    std::fs::create_dir(home.path("disk")).unwrap();
    let disk = home.path("disk");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=200k", "tmpfs"]).arg(&disk).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no right to mount a disk");
        return;
    }
    let result = std::panic::catch_unwind(|| {
        home.run(&[&["train", "text.txt", "-o", "disk/model", "--quiet"], SMALL].concat()).done();
        home.say("convert disk/model disk/v.txt --quiet").done();
        // Two megabytes of vectors do not go on it, which is known before they are trained.
        let large = "train text.txt -o disk/model --tokens word --min-count 1 --dim 8000 --epochs 100000 --quiet";
        home.refuses(large, 1, &["disk/model", "free"]);
        let rows: String = (0..9000).map(|i| format!("word{i} {i} 0.123456 {i}\n")).collect();
        home.write("large.txt", format!("9000 3\n{rows}"));
        home.refuses("convert large.txt disk/v.txt", 1, &["no space left"]);
        home.refuses("convert large.txt disk/model", 1, &["no space left"]);
        home.say("info disk/model").done();
    });
    let unmounted = Command::new("umount").arg(&disk).status();
    result.unwrap();
    assert!(unmounted.unwrap().success());
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_is_found_before_the_work() {
    // C6
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;
    let home = Home::with_text();
    std::fs::create_dir(home.path("locked")).unwrap();
    home.write("secret.txt", small_text());
    set_permissions(home.path("locked"), Permissions::from_mode(0o555)).unwrap();
    set_permissions(home.path("secret.txt"), Permissions::from_mode(0o000)).unwrap();
    if std::fs::write(home.path("locked/probe"), "").is_ok() {
        eprintln!("skipped: permissions do not bind this user");
        return;
    }
    home.say("train text.txt -o locked/model --epochs 100000").refused(1, &["locked", "permission denied"]);
    home.say("tokenizer train text.txt -o locked/t.json").refused(1, &["locked", "permission denied"]);
    home.say("train secret.txt -o model").refused(1, &["secret.txt", "permission denied"]);
    set_permissions(home.path("locked"), Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn of_two_trainings_to_one_destination_the_second_is_refused() {
    // C9
    let home = Home::with_text();
    let arguments = [&["train", "text.txt", "-o", "model", "--quiet"], SMALL].concat();
    let children: Vec<_> = (0..4).map(|_| home.command(&arguments).spawn().unwrap()).collect();
    let mut n_done = 0;
    for child in children {
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => n_done += 1,
            code => assert!(code == Some(1) && err.contains("another run"), "{err}"),
        }
    }
    assert!(n_done >= 1);
    home.say("info model").done();
    assert_eq!(home.names(), ["model", "text.txt"]);
}
