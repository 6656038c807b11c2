//! The page in a real browser: Chromium, driven through ChromeDriver by the WebDriver protocol.
//!
//! Where there is no ChromeDriver the test says so and passes, unless `FAASM_REQUIRE_BROWSER` is set, as `.ci/run` does. With
//! `FAASM_SCREENSHOTS` it writes pictures of the page into that directory.

mod server_support;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use base64::Engine as _;
use py_func::server::{Access, Tokens};
use reqwest::blocking::Client;
use serde_json::{Value, json};
use server_support::{client, start, start_with};
use tempfile::TempDir;

#[test]
fn functions_are_uploaded_called_and_watched_in_the_page() {
    let Some(browser) = Browser::start(1200, 900) else { return };
    let server = start();
    server.upload("greet", "def faasm_main(data): print('printed'); return b'Hello, ' + data\n");
    server.upload("fails", "def faasm_main(data): return 1 / int(data)\n");
    server.upload("markup", "def faasm_main(): return '<img src=x onerror=\"document.title=1\">'\n");
    for number in 0..40 {
        server.post("/invoke/python/greet", number.to_string());
    }
    browser.open(&server.url);
    browser.eventually("document.querySelectorAll('#functions li').length === 3");
    browser.eventually("document.querySelectorAll('#chart circle').length === 40");
    browser.eventually("document.querySelector('#health').textContent === 'connected'");

    // Everything by keyboard: the function's button, the input, Ctrl+Enter. What has the focus keeps it while the page asks for more.
    let choose = "[...document.querySelectorAll('#functions button')].find(it => it.textContent === 'python/greet').focus()";
    browser.run(choose);
    let asked = "performance.getEntriesByName(location.origin + '/p').length";
    let before = browser.value(asked).as_u64().unwrap();
    browser.eventually(&format!("{asked} >= {}", before + 2));
    browser.keys("\u{e007}");
    browser.eventually("document.activeElement.id === 'input'");
    browser.keys("you <b>");
    browser.keys("\u{e009}\u{e007}\u{e000}");
    browser.eventually("document.querySelector('#outcome').textContent.startsWith('status 0')");
    let shown = "[...document.querySelectorAll('#result pre')].map(it => it.textContent)";
    assert_eq!(browser.value(shown), json!(["Hello, you <b>", "printed\n"]));
    browser.eventually("document.querySelectorAll('#chart circle').length === 41");

    // An exception shows its traceback, where it was called and in the list of calls.
    browser.run("document.querySelector('#function').value = 'python/fails'; document.querySelector('#input').value = '0'; document.querySelector('#run').click()");
    browser.eventually("document.querySelector('#result').textContent.includes('ZeroDivisionError')");
    browser.eventually("document.querySelectorAll('#calls .bad').length === 1");
    browser.run("document.querySelector('#calls button').focus()");
    browser.keys("\u{e007}");
    browser.eventually("(document.querySelector('#calls .details')?.textContent ?? '').includes('fails.py')");
    browser.eventually("document.querySelector('#calls button').getAttribute('aria-expanded') === 'true'");
    browser.screenshot("page-light");

    // Answers are text.
    browser.run(
        "document.querySelector('#function').value = 'python/markup'; document.querySelector('#run').click()",
    );
    browser.eventually("document.querySelector('#result').textContent.includes('<img')");
    assert_eq!(browser.value("document.querySelectorAll('#result img').length"), 0);
    assert_eq!(browser.value("document.title"), "py_func");

    // A file that is dropped is uploaded; what cannot be loaded is explained.
    let drop = |name: &str, content: &str| {
        let script = format!(
            "const data = new DataTransfer(); data.items.add(new File([{}], {})); \
             document.querySelector('#drop').dispatchEvent(new DragEvent('drop', {{ dataTransfer: data, bubbles: true }}))",
            json!(content),
            json!(name)
        );
        browser.run(&script);
    };
    drop("dropped.py", "def faasm_main(): return 'from a drop'");
    browser.eventually("document.querySelector('#uploaded').textContent === 'Uploaded python/dropped'");
    browser.eventually("document.querySelector('#function').value === 'python/dropped'");
    assert_eq!(server.post("/invoke/python/dropped", "").text().unwrap(), "from a drop");
    drop("broken.py", "def f(:");
    browser.eventually("document.querySelector('#uploaded').textContent.includes('SyntaxError')");

    // Nothing was loaded from elsewhere, and nothing was refused.
    let elsewhere =
        "performance.getEntriesByType('resource').filter(it => !it.name.startsWith(location.origin)).length";
    assert_eq!(browser.value(elsewhere), 0);
    let errors: Vec<Value> = browser
        .log()
        .into_iter()
        .filter(|it| {
            // A refused upload is one that the browser logs by itself.
            !it["message"].as_str().unwrap_or_default().contains("422")
                && !it["message"].as_str().unwrap_or_default().contains("status of 500")
        })
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn the_page_fits_a_phone_and_the_dark() {
    let Some(browser) = Browser::start(390, 844) else { return };
    let server = start();
    server.upload(
        "a_function_with_quite_a_long_name_that_does_not_fit_on_a_phone",
        "def faasm_main(): return 'x' * 500\n",
    );
    for _ in 0..3 {
        server.post("/invoke/python/a_function_with_quite_a_long_name_that_does_not_fit_on_a_phone", "");
    }
    browser.phone(390, 844);
    browser.open(&server.url);
    browser.eventually("document.querySelectorAll('#calls tr').length === 3");
    browser.run("document.querySelector('#calls button').click()");
    browser.eventually("document.querySelectorAll('#calls pre').length > 0");
    let fits = "document.documentElement.scrollWidth <= innerWidth && innerWidth === 390";
    assert_eq!(browser.value(fits), true);
    browser.screenshot("page-phone");

    let background = "getComputedStyle(document.body).backgroundColor";
    browser.color_scheme("light");
    let light = browser.value(background);
    browser.color_scheme("dark");
    assert_ne!(browser.value(background), light);
    browser.screenshot("page-phone-dark");
}

#[test]
fn a_server_without_functions_says_what_to_do() {
    let Some(browser) = Browser::start(1200, 900) else { return };
    let server = start();
    browser.open(&server.url);
    browser
        .eventually("!document.querySelector('#example').hidden && document.querySelector('#run').disabled");
    browser.eventually("document.querySelector('#summary').textContent === 'There are no calls yet.'");
    browser.screenshot("page-empty");
    server.upload("f", "def faasm_main(): pass\n");
    browser
        .eventually("document.querySelector('#example').hidden && !document.querySelector('#run').disabled");
}

#[test]
fn the_page_asks_for_a_token() {
    let Some(browser) = Browser::start(1200, 900) else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens");
    let token = Tokens::create(&file, &[]).unwrap();
    let tokens = Tokens::read(&file).unwrap();
    let server = start_with(|settings| settings.access = Access::Tokens(tokens));
    browser.open(&server.url);
    browser.eventually("!document.querySelector('#login').hidden");
    let sign_in = |token: &str| {
        browser.run("document.querySelector('#token').value = ''; document.querySelector('#token').focus()");
        browser.keys(token);
        browser.keys("\u{e007}");
    };
    sign_in("wrong");
    browser.eventually("document.querySelector('#problem').textContent.includes('not known')");
    browser.eventually("!document.querySelector('#login').hidden");
    sign_in(&token);
    browser.eventually("document.querySelector('#health').textContent === 'connected'");
    browser
        .eventually("document.querySelector('#login').hidden && document.querySelector('#problem').hidden");
}

/// Chromium without a window. Ends with this.
struct Browser {
    driver: Child,
    client: Client,
    session: String,
    _profile: TempDir,
}

impl Browser {
    fn start(width: u32, height: u32) -> Option<Self> {
        let driver =
            Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut driver = match driver {
            Ok(driver) => driver,
            Err(error) => {
                assert!(
                    env::var_os("FAASM_REQUIRE_BROWSER").is_none(),
                    "failed to start chromedriver: {error}"
                );
                eprintln!("chromedriver cannot be started, so the page is not tested: {error}");
                return None;
            }
        };
        let mut output = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = output.find_map(|line| {
            Some(line.unwrap().split_once("successfully on port ")?.1.trim_end_matches('.').to_owned())
        });
        let url = format!("http://127.0.0.1:{}", port.unwrap());
        // Whatever else it says must be read, so that it can go on.
        thread::spawn(move || output.for_each(drop));
        let profile = tempfile::tempdir().unwrap();
        let arguments = json!([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--no-proxy-server",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={}", profile.path().display()),
        ]);
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let client = client();
        let answer = client.post(format!("{url}/session")).body(capabilities.to_string()).send().unwrap();
        let answer: Value = serde_json::from_slice(&answer.bytes().unwrap()).unwrap();
        let id = answer["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("{answer}"));
        let session = format!("{url}/session/{id}");
        Some(Self { driver, client, session, _profile: profile })
    }

    fn open(&self, url: &str) {
        self.post("url", &json!({ "url": url }));
    }

    /// The value of a JavaScript expression.
    #[track_caller]
    fn value(&self, expression: &str) -> Value {
        self.post("execute/sync", &json!({ "script": format!("return {expression}"), "args": [] }))
    }

    #[track_caller]
    fn run(&self, script: &str) {
        self.post("execute/sync", &json!({ "script": script, "args": [] }));
    }

    /// Waits for an expression to become true.
    #[track_caller]
    fn eventually(&self, expression: &str) {
        let begun = Instant::now();
        while self.value(expression) != true {
            if begun.elapsed() > Duration::from_secs(30) {
                panic!(
                    "{expression}\n{}",
                    self.value("document.body.innerText").as_str().unwrap_or_default()
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Presses keys, of which special ones are in Unicode's private area, as WebDriver has it. Modifiers stay down until U+E000.
    fn keys(&self, keys: &str) {
        let mut actions = Vec::new();
        let mut down = Vec::new();
        for key in keys.chars() {
            match key {
                '\u{e000}' => {
                    actions.extend(down.drain(..).map(|key: char| json!({ "type": "keyUp", "value": key })));
                }
                '\u{e009}' => {
                    actions.push(json!({ "type": "keyDown", "value": key }));
                    down.push(key);
                }
                key => {
                    actions.push(json!({ "type": "keyDown", "value": key }));
                    actions.push(json!({ "type": "keyUp", "value": key }));
                }
            }
        }
        self.post(
            "actions",
            &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] }),
        );
    }

    /// What the browser's console says.
    fn log(&self) -> Vec<Value> {
        self.post("se/log", &json!({ "type": "browser" })).as_array().cloned().unwrap()
    }

    fn phone(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 2, "mobile": true });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    fn color_scheme(&self, scheme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    fn screenshot(&self, name: &str) {
        let Some(directory) = env::var_os("FAASM_SCREENSHOTS") else { return };
        let whole = json!({ "captureBeyondViewport": true });
        let picture = self.devtools("Page.captureScreenshot", &whole);
        let picture = base64::prelude::BASE64_STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        fs::write(std::path::Path::new(&directory).join(format!("{name}.png")), picture).unwrap();
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post("goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    #[track_caller]
    fn post(&self, command: &str, body: &Value) -> Value {
        let answer =
            self.client.post(format!("{}/{command}", self.session)).body(body.to_string()).send().unwrap();
        let status = answer.status();
        let mut answer: Value = serde_json::from_slice(&answer.bytes().unwrap()).unwrap();
        assert!(status.is_success(), "{command} {body}: {answer}");
        answer["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser, which the driver started.
        let _ = self.client.delete(&self.session).send();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
