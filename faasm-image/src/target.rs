//! Targets: which system, and which processors of it, machine code is for.
//!
//! A target is written as a triple, which stands for the baseline of an architecture, or as a triple and a level of x86-64, such as
//! `x86_64-unknown-linux-gnu+v3`. The levels are those of the System V ABI's supplement for AMD64, "Micro-Architecture Levels".

use target_lexicon::{Architecture, Triple};
use wasmtime::Config;
use wasmtime_cli_flags::CommonOptions;

/// The level of processors that have no more than every one of x86-64 has.
const BASELINE: usize = 1;

/// What each level has that the one below it lacks, as far as the compiler makes use of it and by the compiler's names.
const LEVELS: [(&str, &[&str]); 3] = [
    ("v2", &["has_cmpxchg16b", "has_popcnt", "has_sse3", "has_sse41", "has_sse42", "has_ssse3"]),
    ("v3", &["has_avx", "has_avx2", "has_bmi1", "has_bmi2", "has_fma", "has_lzcnt"]),
    ("v4", &["has_avx512dq", "has_avx512f", "has_avx512vl"]),
];

/// The target triple of this machine, which [`compile`](crate::compile) makes code for unless told otherwise.
pub fn host_target() -> String {
    target_lexicon::HOST.to_string()
}

/// The level of x86-64 that a target names: 1 if it names none. Of code for two of them that this machine can run, that for the higher
/// one is faster.
pub fn target_level(target: &str) -> usize {
    let level = split(target).1;
    LEVELS.iter().position(|it| Some(it.0) == level).map_or(BASELINE, |index| index + BASELINE + 1)
}

/// Whether code for `target` is for this machine's architecture and system. It does not depend on the rest of the
/// triple, such as the C library. Whether this processor has what a level asks for is found out when code is loaded.
pub(crate) fn is_host(target: &str) -> bool {
    let host = target_lexicon::HOST;
    split(target).0.parse::<Triple>().is_ok_and(|target| {
        target.architecture == host.architecture && target.operating_system == host.operating_system
    })
}

/// The engine's settings that a target comes to.
///
/// Naming features of a processor is unsafe in the engine's own interface, since some of the compiler's other flags break what the engine
/// relies on. The interface by which its command line does it is not, and what is named here are features of processors alone. Code that
/// uses one which this processor lacks is not loaded.
pub(crate) fn config(target: &str) -> wasmtime::Result<Config> {
    let (triple, level) = split(target);
    let mut options = CommonOptions::new();
    options.target = Some(triple.to_owned());
    if let Some(level) = level {
        let features = features(triple, level)?;
        options.codegen.cranelift = features.map(|it| (it.to_owned(), None)).collect();
    }
    options.config(None)
}

/// What processors of a level have besides the baseline.
fn features(triple: &str, level: &str) -> wasmtime::Result<impl Iterator<Item = &'static str>> {
    let is_x86_64 = triple.parse::<Triple>().is_ok_and(|it| it.architecture == Architecture::X86_64);
    let index = LEVELS.iter().position(|it| it.0 == level).filter(|_| is_x86_64);
    let index = index.ok_or_else(|| {
        wasmtime::Error::msg(format!("there is no level {level:?} of it: x86_64 has v2, v3 and v4"))
    })?;
    Ok(LEVELS.iter().take(index + 1).flat_map(|it| it.1).copied())
}

/// The triple of a target and its level.
fn split(target: &str) -> (&str, Option<&str>) {
    target.split_once('+').map_or((target, None), |(triple, level)| (triple, Some(level)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, fingerprint};

    #[test]
    fn a_level_is_a_target_of_its_own() {
        let targets = ["", "+v2", "+v3", "+v4"].map(|it| format!("x86_64-unknown-linux-gnu{it}"));
        assert_eq!(targets.each_ref().map(|it| target_level(it)), [1, 2, 3, 4]);
        let Ok(_) = fingerprint(Some(&targets[0])) else { return };
        let mut fingerprints = targets.each_ref().map(|it| fingerprint(Some(it)).unwrap()).to_vec();
        fingerprints.sort();
        fingerprints.dedup();
        assert_eq!(fingerprints.len(), targets.len());
    }

    #[test]
    fn a_level_that_there_is_not_is_named() {
        for target in
            ["x86_64-unknown-linux-gnu+v5", "x86_64-unknown-linux-gnu+", "aarch64-unknown-linux-gnu+v2"]
        {
            let error = fingerprint(Some(target)).unwrap_err();
            assert_eq!(error.to_string(), format!("set up the engine for {target}"));
            let Error::Engine { source, .. } = error else { panic!("{target}: {error}") };
            assert!(source.to_string().contains("x86_64 has v2, v3 and v4"), "{source}");
        }
    }

    /// A small module's machine code, in a file.
    #[cfg(target_arch = "x86_64")]
    fn code(target: &str, change: impl FnOnce(&mut Vec<u8>)) -> Result<crate::Code, Error> {
        let wasm = wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "f")))"#).unwrap();
        let mut code = crate::compile(&wasm, Some(target)).unwrap();
        change(&mut code);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("code");
        std::fs::write(&path, code).unwrap();
        crate::Code::load(&path)
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn code_runs_where_all_that_it_uses_is_there() {
        let has_v2 = is_x86_feature_detected!("popcnt") && is_x86_feature_detected!("sse4.2");
        let has_v3 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2");
        let has_v4 = is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512vl");
        for (level, has) in [("", true), ("+v2", has_v2), ("+v3", has_v3), ("+v4", has_v4)] {
            let loaded = code(&format!("{}{level}", host_target()), |_| ());
            assert_eq!(loaded.is_ok(), has, "{level}: {:?}", loaded.err());
        }

        // Made to say that it uses what this processor has not.
        let known = [
            ("has_avx_vnni", is_x86_feature_detected!("avxvnni")),
            ("has_avx512vbmi", is_x86_feature_detected!("avx512vbmi")),
            ("has_avx512f", is_x86_feature_detected!("avx512f")),
            ("has_avx2", is_x86_feature_detected!("avx2")),
        ];
        let Some((missing, _)) = known.into_iter().find(|it| !it.1) else { return };
        let error = code(&host_target(), |code| {
            // Behind the name of a feature are the variant of a truth value and the value.
            let at = code.windows(missing.len()).position(|it| it == missing.as_bytes()).unwrap();
            let value = &mut code[at + missing.len()..][..2];
            assert_eq!(value, [2, 0]);
            value[1] = 1;
        });
        let error = error.err().unwrap();
        assert!(matches!(error, Error::Load { .. }), "{error}");
    }
}
