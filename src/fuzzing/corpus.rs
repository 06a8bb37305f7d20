//! The inputs that are kept in `fuzz/corpus`, and inputs like them.

use std::fs;
use std::path::Path;

use super::TARGETS;
use crate::random::{Random, SeededRandom};

/// So many changed copies of each input are tried.
const COPIES: u64 = 60;

#[test]
fn each_target_takes_the_inputs_that_are_kept_and_what_is_like_them() {
    for (name, target) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{name} has inputs");
        for file in files {
            let input = fs::read(&file).unwrap();
            target(&input);
            for copy in 0..COPIES {
                target(&changed(&input, &SeededRandom::new(copy)));
            }
        }
    }
}

#[test]
fn each_target_has_its_program_for_cargo_fuzz() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        let program = fs::read_to_string(folder.join("fuzz_targets").join(format!("{name}.rs"))).unwrap();
        assert!(program.contains(&format!("run(\"{name}\"")), "{name}");
        assert!(manifest.contains(&format!("fuzz_targets/{name}.rs")), "{name}");
    }
}

/// A copy in which a few places are overwritten, doubled or taken out.
fn changed(input: &[u8], random: &SeededRandom) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(3) {
        let place = random.below(u32::try_from(bytes.len() + 1).unwrap()) as usize;
        match random.below(4) {
            0 => bytes.insert(place, u8::try_from(random.below(256)).unwrap()),
            1 if place < bytes.len() => drop(bytes.remove(place)),
            2 if place < bytes.len() => bytes[place] = u8::try_from(random.below(256)).unwrap(),
            _ => bytes.extend_from_within(place..),
        }
    }
    bytes
}
