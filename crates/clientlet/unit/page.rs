//! `docs/guarantees.md` contains tables that the code decides by, and `docs/logs.md` what it tells
//! `tracing`. Tests keep the pages equal to the code.

use std::sync::Mutex;

/// Tests of one process run in parallel, and each writes the whole page.
static WRITING: Mutex<()> = Mutex::new(());

/// Checks that the table `name` of a page in `docs` is `table`. If `CLIENTLET_BLESS` is set, writes the table
/// instead.
pub(crate) fn check(page: &str, name: &str, table: &str) {
    let _one = WRITING.lock().unwrap();
    let path = format!("{}/../../docs/{page}", env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(&path).unwrap();
    let begin = format!("<!-- table of {name} -->\n");
    let end = "<!-- end of the table -->";
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("no table of {name}"));
    let (printed, after) = rest.split_once(end).unwrap();
    if std::env::var_os("CLIENTLET_BLESS").is_some() {
        std::fs::write(path, format!("{before}{begin}{table}{end}{after}")).unwrap();
        return;
    }
    assert_eq!(
        printed, table,
        "CLIENTLET_BLESS=1 cargo test -p clientlet --lib page_of updates the page"
    );
}
