//! Where in a `meta.yaml` each value is, so that the lint can say so.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use crate::parse::Place;

/// The place of each key and each item of a list, by its path: `build/cflags`, `requirements/run/2`.
#[derive(Debug, Default)]
pub(crate) struct Places(BTreeMap<String, Place>);

impl Places {
    /// Those of a text that is a recipe; none if it is not even YAML.
    pub(crate) fn of(text: &str) -> Self {
        let mut places = Self::default();
        if let Ok(root) = serde_saphyr::from_str::<Spanned<Node>>(text) {
            places.add(String::new(), root.value);
        }
        places
    }

    /// Where the value at a path is, or, if there is none, where what it would be part of is.
    pub(crate) fn get(&self, path: &str) -> Option<Place> {
        let mut path = path;
        loop {
            if let Some(place) = self.0.get(path) {
                return Some(*place);
            }
            path = path.rsplit_once('/')?.0;
        }
    }

    fn add(&mut self, path: String, node: Node) {
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        match node {
            Node::Scalar => {}
            Node::List(items) => {
                for (number, item) in items.into_iter().enumerate() {
                    self.insert(below(&number.to_string()), item.referenced, item.value);
                }
            }
            Node::Map(entries) => {
                for (key, value) in entries {
                    self.insert(below(&key.value), key.referenced, value);
                }
            }
        }
    }

    fn insert(&mut self, path: String, location: Location, node: Node) {
        if let Some(place) = Place::from_location(location) {
            self.0.insert(path.clone(), place);
        }
        self.add(path, node);
    }
}

/// The shape of a YAML document.
#[derive(Debug)]
enum Node {
    Scalar,
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Node)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Nodes;

        /// Scalars of all kinds are alike.
        macro_rules! scalars {
            ($($visit:ident: $of:ty),*) => {
                $(fn $visit<E>(self, _: $of) -> Result<Node, E> {
                    Ok(Node::Scalar)
                })*
            };
        }

        impl<'de> Visitor<'de> for Nodes {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            scalars!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128,
                visit_f64: f64, visit_str: &str, visit_bytes: &[u8]);

            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Scalar)
            }

            fn visit_none<E>(self) -> Result<Node, E> {
                Ok(Node::Scalar)
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
                Node::deserialize(deserializer)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Node::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Node::Map(entries))
            }
        }

        deserializer.deserialize_any(Nodes)
    }
}
