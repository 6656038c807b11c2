//! The description at `/openapi.json`, compared with what the server does.
//!
//! Schemathesis, from the package index, makes thousands of requests of the description and finds what none of ours does:
//!
//! ```console
//! $ cargo faasm serve &
//! $ curl -X PUT --data-binary 'def faasm_main(data): return data' localhost:8080/p/python/f
//! $ schemathesis run http://localhost:8080/openapi.json --max-time 100 --checks not_a_server_error,status_code_conformance,\
//!     content_type_conformance,response_headers_conformance,response_schema_conformance,unsupported_method,allow_header_conformance
//! ```
//!
//! It must find nothing. Its checks that what fits the description is accepted, and nothing else, are too strict: descriptions cannot say
//! everything, and a body may be empty.

mod server_support;

use serde_json::{Map, Value};
use server_support::{json, start};

#[test]
fn every_operation_answers_as_its_description_says() {
    let server = start();
    let description: Value = json(server.get("/openapi.json"), 200);
    let paths = description["paths"].as_object().unwrap();
    assert_eq!(description["openapi"], "3.1.0");
    let mut count = 0;
    // Each with things that exist and things that do not.
    for exists in [true, false] {
        for (path, operations) in paths {
            for (method, operation) in operations.as_object().unwrap() {
                server.upload("f", "def faasm_main(data): return data\n");
                server.put("/s/python/key", "value");
                let call = server.post("/invoke/python/f?async", "").json_id();
                server.get(&format!("/calls/{call}?wait=30"));
                server.put("/file/python/folder/file", "content");
                let (function, key, file, id) = if exists {
                    ("f", "key", "folder/file", call)
                } else {
                    ("missing", "missing", "missing", 5)
                };
                let path = path
                    .replace("{user}", "python")
                    .replace("{function}", function)
                    .replace("{key}", key)
                    .replace("{path}", file)
                    .replace("{id}", &id.to_string());
                let body = match (method.as_str(), path.as_str()) {
                    ("post", "/") => format!(r#"{{"user": "python", "function": "{function}"}}"#),
                    ("put", path) if path.starts_with("/p/") && !exists => "def f(:".to_owned(),
                    ("put", path) if path.starts_with("/p/") => "def faasm_main(): pass".to_owned(),
                    ("put" | "post", _) => "body".to_owned(),
                    _ => String::new(),
                };
                let answer = server.request(&method.to_uppercase(), &path).body(body).send().unwrap();
                let name = format!("{method} {path}");
                check(&description, operation, answer, &name);
                count += 1;
            }
        }
    }
    assert!(count > 30, "{count}");
}

trait Id {
    fn json_id(self) -> u64;
}

impl Id for reqwest::blocking::Response {
    fn json_id(self) -> u64 {
        json::<Value>(self, 202)["id"].as_u64().unwrap()
    }
}

fn check(description: &Value, operation: &Value, answer: reqwest::blocking::Response, name: &str) {
    let status = answer.status().as_u16();
    let response = &operation["responses"][status.to_string()];
    assert!(response.is_object(), "{name} answers {status}, which is not described");
    let kind = answer.headers().get("content-type").map(|it| it.to_str().unwrap().to_owned());
    let body = answer.bytes().unwrap();
    let Some(content) = response.get("content").and_then(Value::as_object) else {
        assert!(body.is_empty(), "{name} answers {status} with a body that is not described");
        return;
    };
    let kind = kind.unwrap_or_else(|| panic!("{name} answers {status} without a type"));
    let kind = kind.split(';').next().unwrap();
    let described = content.get(kind).unwrap_or_else(|| panic!("{name} answers {status} with {kind}"));
    if kind.ends_with("json") {
        let value: Value = serde_json::from_slice(&body).unwrap();
        fits(description, &described["schema"], &value, name);
    }
}

/// Whether a value is as a schema says, as far as this description uses schemas.
fn fits(description: &Value, schema: &Value, value: &Value, name: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').unwrap();
        return fits(description, description.pointer(pointer).unwrap(), value, name);
    }
    if let Some(all) = schema["allOf"].as_array() {
        all.iter().for_each(|schema| fits(description, schema, value, name));
        return;
    }
    if schema.get("oneOf").is_some() {
        return;
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.iter().map(|it| it.as_str().unwrap()).collect(),
        Value::String(one) => vec![one.as_str()],
        _ => panic!("{name}: a schema without a type: {schema}"),
    };
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(
        types.contains(&found) || (found == "integer" && types.contains(&"number")),
        "{name}: {value} is no {types:?}"
    );
    match value {
        Value::Array(items) => items.iter().for_each(|item| fits(description, &schema["items"], item, name)),
        Value::Object(members) => members_fit(description, schema, members, name),
        _ => (),
    }
}

fn members_fit(description: &Value, schema: &Value, members: &Map<String, Value>, name: &str) {
    for required in schema["required"].as_array().into_iter().flatten() {
        assert!(members.contains_key(required.as_str().unwrap()), "{name}: {required} is missing");
    }
    for (member, value) in members {
        if let Some(schema) = schema["properties"].get(member) {
            fits(description, schema, value, name);
        }
    }
}
