//! Random operations, compared with a model of what they should do.

use std::sync::Arc;

use pollster::block_on;

use super::LIMITS;
use crate::state::content::CHUNK;
use crate::state::global::value_cost;
use crate::state::{Error, Global, Limits, State};

/// What a key should have, told without chunks, ranges or laziness.
#[derive(Clone, Default)]
struct Model {
    local: Option<Vec<u8>>,
    global: Option<Vec<u8>>,
    unpushed: bool,
    log: Vec<Vec<u8>>,
}

/// Does random things to a few keys and compares all that can be seen with the model. In the end nothing may be counted any more.
pub(in crate::state) fn compare(seed: u64, steps: usize, global: &Arc<dyn Global>) {
    const KEYS: [&str; 3] = ["a", "b", "ä/\0"];
    let mut random = fastrand::Rng::with_seed(seed);
    let mut models: [Model; 3] = Default::default();
    let state = State::new(Arc::clone(global), LIMITS);
    block_on(async {
        for step in 0..steps {
            let which = random.usize(..KEYS.len());
            let (key, model) = (KEYS[which], &mut models[which]);
            let size = model.local.as_ref().map(Vec::len);
            let bytes = |random: &mut fastrand::Rng, length: usize| -> Vec<u8> {
                let first = random.u8(1..);
                (0..length).map(|at| first.wrapping_add((at % 251) as u8)).collect()
            };
            // Sizes near the borders of chunks, those of the local tier and those of the durable one.
            let any_size = |random: &mut fastrand::Rng| {
                let border = random.usize(..4) * CHUNK as usize;
                (border + random.usize(..600)).saturating_sub(random.usize(..600))
            };
            let action = random.u8(..15);
            let context = format!("seed {seed}, step {step}: action {action} on {key:?}");
            match action {
                0 | 1 => {
                    let length = size.unwrap_or_else(|| any_size(&mut random));
                    let data = bytes(&mut random, length);
                    state.write("u", key, &data).await.expect(&context);
                    (model.local, model.unpushed) = (Some(data), true);
                }
                2..=5 => {
                    let size = size.unwrap_or_else(|| any_size(&mut random));
                    let offset = random.usize(..=size);
                    let length = random.usize(..=size - offset) / random.usize(1..100);
                    let data = bytes(&mut random, length);
                    state.write_at("u", key, offset as u64, &data, Some(size as u64)).await.expect(&context);
                    model.unpushed |= model.local.is_none() || length > 0;
                    let local = model.local.get_or_insert_with(|| vec![0; size]);
                    local[offset..offset + length].copy_from_slice(&data);
                }
                6 => {
                    let new = any_size(&mut random);
                    let resized = state.resize("u", key, new as u64).await;
                    assert_eq!(resized.is_ok(), size.is_some(), "{context}");
                    if let Some(local) = &mut model.local {
                        model.unpushed |= local.len() != new;
                        local.resize(new, 0);
                    }
                }
                7 | 8 => {
                    let pushed = match action {
                        7 => state.push("u", key).await,
                        _ => state.push_partial("u", key).await,
                    };
                    assert_eq!(pushed.is_ok(), size.is_some(), "{context}");
                    model.global = model.local.clone();
                    model.unpushed = false;
                }
                9 => {
                    let pulled = state.pull("u", key).await;
                    assert_eq!(pulled.is_ok(), size.is_some(), "{context}");
                    if model.global.is_some() {
                        model.local = model.global.clone();
                        model.unpushed = false;
                    }
                }
                10 => {
                    state.delete("u", key).await.expect(&context);
                    *model = Model::default();
                }
                11 => {
                    let entry = bytes(&mut random, step % 50);
                    state.append("u", key, entry.clone()).await.expect(&context);
                    model.log.push(entry);
                }
                12 => {
                    state.clear_appended("u", key).await.expect(&context);
                    model.log.clear();
                }
                13 => state.evict(0),
                _ => {
                    let beyond = any_size(&mut random) + 2;
                    let offset = random.usize(..beyond);
                    let mut buffer = vec![0; any_size(&mut random)];
                    let read = state.read("u", key, offset as u64, &mut buffer).await;
                    match &model.local {
                        Some(local) => {
                            let length = read.expect(&context);
                            let expected = local.get(offset..).unwrap_or_default();
                            let expected = &expected[..expected.len().min(buffer.len())];
                            assert!(buffer[..length] == *expected, "{context}");
                        }
                        None => assert!(matches!(read, Err(Error::NoValue { .. })), "{context}"),
                    }
                }
            }
            let size = model.local.as_ref().map(|it| it.len() as u64);
            assert_eq!(state.size("u", key).await.expect(&context), size, "{context}");
            let count = random.usize(..5);
            let entries = state.appended("u", key, Some(count)).await.expect(&context);
            assert_eq!(entries, model.log[..count.min(model.log.len())], "{context}");
            let stored = global.read("u", key, 0..u64::MAX).await.expect(&context);
            assert!(stored == model.global, "{context}");
            let there = |it: &Model| it.local.is_some() || !it.log.is_empty();
            let keys = KEYS.iter().zip(&models).filter(|(_, it)| there(it)).map(|(key, _)| *key);
            assert_eq!(state.keys("u").await.expect(&context), keys.collect::<Vec<_>>(), "{context}");
        }

        // In the end all is given back.
        for key in KEYS {
            state.delete("u", key).await.unwrap();
        }
        state.evict(0);
        assert_eq!(state.local_bytes(), 0);
        let everything = Limits { user_quota: value_cost("k", 0), ..LIMITS };
        let state = State::new(Arc::clone(global), everything);
        state.write("u", "k", b"").await.unwrap();
        state.push("u", "k").await.unwrap();
        state.delete("u", "k").await.unwrap();
    });
}
