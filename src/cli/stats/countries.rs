//! What became of the messages to each country.

use serde_json::{Value, json};

use crate::cli::CliError;
use crate::cli::output::Output;
use crate::domain::budget::money;
use crate::storage::guard::CountryFigures;

/// For people; nothing where no message was bought.
pub(super) fn table(figures: &[CountryFigures], output: &mut Output) -> Result<(), CliError> {
    if figures.is_empty() {
        return Ok(());
    }
    let rows = figures.iter().map(|of| {
        let cost = if of.cost == 0 { "-".to_owned() } else { money(of.cost) };
        let [sent, new, converted, delivered] =
            [of.sent, of.new, of.converted, of.delivered].map(|n| n.to_string());
        [of.country.clone(), sent, delivered, new, converted, cost]
    });
    output.table(["country", "bought", "delivered", "to new numbers", "verified", "cost"], rows)?;
    Ok(output.text("\n")?)
}

/// For scripts.
pub(super) fn documents(figures: &[CountryFigures]) -> Vec<Value> {
    let document = |of: &CountryFigures| {
        json!({
            "country": of.country,
            "bought": of.sent,
            "delivered": of.delivered,
            "new": of.new,
            "converted": of.converted,
            "cost": money(of.cost),
        })
    };
    figures.iter().map(document).collect()
}
