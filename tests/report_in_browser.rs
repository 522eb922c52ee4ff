//! The report of a run, opened in Chromium: wide and narrow, light and dark.
//!
//! With `DAWN21_REQUIRE_CHROMIUM=1`, as `.ci/run` sets it, the test fails where there is no Chromium;
//! elsewhere it says that it was not run.

mod common;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{real_light_cones, succeed, text};

/// The program, if it is installed.
fn chromium() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = names
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok());
    if found.is_none() {
        let required = std::env::var_os("DAWN21_REQUIRE_CHROMIUM").is_some();
        assert!(
            !required,
            "no Chromium: install Debian's package `chromium`"
        );
        eprintln!(
            "\n*** NOT RUN: there is no Chromium to open the report in (Debian: apt-get install chromium) ***\n"
        );
    }
    found
}

/// A page as wide as a screen or a telephone.
const WIDTHS: [usize; 2] = [1400, 420];

/// Runs Chromium on a page without a network; returns what it prints.
fn browse(program: &str, profile: &Path, page: &Path, dark: bool, more: &[&str]) -> String {
    let scheme = if dark { 0 } else { 1 };
    let output = Command::new(program)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--hide-scrollbars",
            "--host-resolver-rules=MAP * ~NOTFOUND",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
        .args(more)
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("Chromium starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A report of a short training on the real light-cones.
fn report(directory: &Path) -> PathBuf {
    let (data, run) = (real_light_cones(), directory.join("run"));
    let epochs = ["--set", "training.epochs=8"];
    let mut arguments = vec!["train", text(&data), "--out", text(&run), "--quiet"];
    arguments.extend(epochs);
    succeed(&arguments);
    succeed(&["evaluate", text(&run), text(&data), "--quiet"]);
    succeed(&["report", text(&run), "--quiet"]);
    run.join("report.html")
}

/// Puts the report into a frame of `width`, below the least width of a window, beside a script that looks for
/// texts that overlap or are cut off, for a page wider than its frame, and for anything loaded from elsewhere.
const CHECKS: &str = r#"
const found = {overflow: 0, overlaps: [], cut: [], loaded: [], figures: 0, texts: 0};
const root = document.documentElement;
found.overflow = root.scrollWidth - root.clientWidth;
for (const svg of document.querySelectorAll('figure svg')) {
  found.figures += 1;
  const page = svg.getBoundingClientRect();
  const boxes = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
  found.texts += boxes.length;
  boxes.forEach(([a, p], i) => {
    if (p.left < page.left - 1 || p.right > page.right + 1 || p.top < page.top - 1 || p.bottom > page.bottom + 1)
      found.cut.push(a);
    for (const [b, q] of boxes.slice(i + 1)) {
      const w = Math.min(p.right, q.right) - Math.max(p.left, q.left);
      const h = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
      if (w > 1 && h > 1) found.overlaps.push(a + ' | ' + b);
    }
  });
}
found.loaded = performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith('data:'));
"#;

fn check_layout(program: &str, directory: &Path, html: &str, width: usize) {
    // Headless windows are at least 500 pixels wide: a narrow page is one in a frame.
    let framed = directory.join("framed.html");
    let script = format!(
        "<script>window.addEventListener('load', () => {{ {CHECKS}\
         parent.postMessage(JSON.stringify(found), '*'); }});</script></body>"
    );
    fs::write(&framed, html.replacen("</body>", &script, 1)).expect("page");
    let outer = directory.join("outer.html");
    let listener = "<script>addEventListener('message', e => { document.getElementById('found').textContent = e.data; });</script>";
    fs::write(
        &outer,
        format!(
            "<!doctype html><pre id=\"found\"></pre>{listener}\
             <iframe src=\"framed.html\" width=\"{width}\" height=\"900\" style=\"border:0\"></iframe>"
        ),
    )
    .expect("page");
    let profile = directory.join("profile");
    let dom = browse(
        program,
        &profile,
        &outer,
        false,
        &[
            "--window-size=1600,1000",
            "--virtual-time-budget=5000",
            "--dump-dom",
        ],
    );
    let found = dom
        .split_once("<pre id=\"found\">")
        .and_then(|(_, rest)| rest.split_once("</pre>"))
        .map(|(found, _)| {
            found
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&amp;", "&")
        })
        .expect("what the script found");
    let found: serde_json::Value =
        serde_json::from_str(&found).unwrap_or_else(|error| panic!("{error}: {found:?}"));
    // Light-cones, losses, four parameters, filters, two responses, two saliency maps.
    assert_eq!(found["figures"], 11, "{width} pixels");
    assert!(found["texts"].as_u64() > Some(200), "{found}");
    assert_eq!(
        found["overflow"], 0,
        "the page is wider than {width} pixels"
    );
    for what in ["overlaps", "cut", "loaded"] {
        let list = found[what].as_array().expect("a list");
        assert!(list.is_empty(), "{what} at {width} pixels: {list:?}");
    }
}

/// Share of the page in each of the two colours, and number of colours, of a screenshot.
fn look(path: &Path, colours: [[u8; 3]; 2]) -> ([f64; 2], usize) {
    let file = std::io::BufReader::new(fs::File::open(path).expect("screenshot"));
    let mut reader = png::Decoder::new(file).read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("small")];
    let frame = reader.next_frame(&mut pixels).expect("a frame");
    let step = frame.color_type.samples();
    let all: Vec<[u8; 3]> = pixels.chunks(step).map(|p| [p[0], p[1], p[2]]).collect();
    let share = |colour| all.iter().filter(|p| **p == colour).count() as f64 / all.len() as f64;
    let different: HashSet<[u8; 3]> = all.iter().copied().collect();
    (colours.map(share), different.len())
}

#[test]
fn report_is_sound_wide_and_narrow_light_and_dark() {
    let Some(program) = chromium() else {
        return;
    };
    let directory = tempfile::tempdir().expect("temporary directory");
    let page = report(directory.path());
    let html = fs::read_to_string(&page).expect("report");
    for width in WIDTHS {
        check_layout(program, directory.path(), &html, width);
    }
    let profile = directory.path().join("profile");
    let (light, dark) = ([255, 255, 255], [20, 23, 28]);
    for (is_dark, colours) in [(false, [light, dark]), (true, [dark, light])] {
        let screenshot = directory.path().join("screenshot.png");
        let argument = format!("--screenshot={}", screenshot.display());
        browse(
            program,
            &profile,
            &page,
            is_dark,
            &["--window-size=1400,6000", &argument],
        );
        let ([page, other], different) = look(&screenshot, colours);
        assert!(
            page > 0.5,
            "dark {is_dark}: {page} of the page has its colour"
        );
        assert!(other < 0.1, "dark {is_dark}: {other} has the other one");
        assert!(
            different > 200,
            "light-cones are drawn: {different} colours"
        );
    }
}

#[test]
fn figures_of_their_own_are_light_and_dark_too() {
    let Some(program) = chromium() else {
        return;
    };
    let directory = tempfile::tempdir().expect("temporary directory");
    let page = report(directory.path());
    let figure = page.with_file_name("figures").join("loss_curves.svg");
    let profile = directory.path().join("profile");
    for (is_dark, colour) in [(false, [255, 255, 255]), (true, [20, 23, 28])] {
        let screenshot = directory.path().join("screenshot.png");
        let argument = format!("--screenshot={}", screenshot.display());
        browse(
            program,
            &profile,
            &figure,
            is_dark,
            &["--window-size=680,420", &argument],
        );
        let ([share, _], _) = look(&screenshot, [colour, colour]);
        assert!(share > 0.8, "dark {is_dark}: {share}");
    }
}
