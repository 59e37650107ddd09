//! `clientlet status`: prints a gateway's facts about itself.

use std::fmt::Write;

use clientlet::GatewayStatus;

use crate::args::{AskArgs, Object};
use crate::connection;
use crate::hint::Task;
use crate::report::{Exit, Failure, answer, answer_lines, escape, one_line};

pub(crate) async fn run(args: AskArgs) -> Result<Exit, Failure> {
    let is_json = args.json;
    let status = match ask(args).await {
        Ok(status) => status,
        Err(failure) => return failure.written(is_json, Object::new()),
    };
    if is_json {
        answer(&serde_json::to_string(&status).expect("text can be written as JSON"))?;
    } else {
        answer_lines(table(&status).lines())?;
    }
    Ok(Exit::Success)
}

async fn ask(args: AskArgs) -> Result<GatewayStatus, Failure> {
    let status = connection::client(args).await?.status().await;
    status.map_err(|error| Failure::of(&error, Task::Ask))
}

/// Prints two columns. The releases come first, because they decide how a client talks to the gateway.
/// Variables that are not set are left out.
fn table(status: &GatewayStatus) -> String {
    let first = ["jina", "docarray", "jina-proto", "python"];
    let leading = first.iter().filter_map(|name| status.jina.get_key_value(*name));
    let others = status.jina.iter().filter(|(name, _)| !first.contains(&name.as_str()));
    let set = status.envs.iter().filter(|(_, value)| *value != "(unset)");
    let rows: Vec<_> = leading.chain(others).chain(set).collect();
    let width = rows.iter().map(|(name, _)| escape(name).chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in rows {
        let (name, value) = (escape(name), one_line(value));
        let _ = writeln!(text, "{name:width$}  {value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_releases_come_first_and_unset_variables_are_left_out() {
        let pairs = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
        };
        let mut status = GatewayStatus::default();
        status.jina =
            pairs(&[("architecture", "x86_64"), ("docarray", "0.40.1"), ("jina", "3.33.1")]);
        status.envs = pairs(&[("JINA_LOG_LEVEL", "DEBUG"), ("JINA_MP", "(unset)")]);
        let expected = "\
jina            3.33.1
docarray        0.40.1
architecture    x86_64
JINA_LOG_LEVEL  DEBUG
";
        assert_eq!(table(&status), expected);
    }
}
