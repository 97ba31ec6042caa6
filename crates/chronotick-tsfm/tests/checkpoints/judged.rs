//! The check itself: it passes what is right, and nothing else.

use chronotick_tsfm::check::{self, CheckError, Report};
use serde_json::{Value, json};

use crate::folder::{Folder, fixture};

/// The report on a copy of a fixture whose recorded cases were changed.
fn report(change: impl FnOnce(&mut Value)) -> Result<Report, CheckError> {
    let text = std::fs::read(fixture("timesfm-2.5").join("cases.json")).expect("recorded cases");
    let mut recorded: Value = serde_json::from_slice(&text).expect("JSON");
    change(&mut recorded);
    let folder = Folder::copy("timesfm-2.5");
    folder.write("cases.json", recorded.to_string());
    check::run(folder.path())
}

fn accepted(change: impl FnOnce(&mut Value)) -> Report {
    report(change).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn an_output_beyond_its_tolerance_fails_its_case_alone() {
    let wrong = accepted(|recorded| {
        let value = &mut recorded["cases"][2]["expected"]["point"][0][7];
        *value = json!(value.as_f64().expect("a number") + 2e-4);
    });
    assert!(!wrong.passes());
    let failed: Vec<&str> =
        wrong.cases.iter().filter(|case| !case.passes()).map(|case| case.name.as_str()).collect();
    assert_eq!(failed, ["exact_patch"]);
    assert!(wrong.cases[2].at.contains("point of series 0, element 7"), "{}", wrong.cases[2].at);
}

#[test]
fn an_output_of_another_length_fails() {
    let short = accepted(|recorded| {
        recorded["cases"][2]["expected"]["quantiles"][0].as_array_mut().expect("steps").pop();
    });
    assert_eq!(short.cases[2].deviation, f64::INFINITY);
}

#[test]
fn another_option_departs() {
    for option in ["force_flip_invariance", "use_continuous_quantile_head", "normalize_inputs"] {
        let name =
            if option == "normalize_inputs" { "tiny_scale_normalized" } else { "unroll_continuous_head" };
        let changed = accepted(|recorded| {
            let cases = recorded["cases"].as_array_mut().expect("cases");
            let case = cases.iter_mut().find(|case| case["name"] == name).expect("the case");
            case["forecast_config"][option] = json!(false);
        });
        assert!(!changed.passes(), "{option}");
    }
}

#[test]
fn no_cases_are_no_pass() {
    assert!(!accepted(|recorded| recorded["cases"] = json!([])).passes());
}

#[test]
fn cases_of_another_format_are_an_error() {
    let error = report(|recorded| *recorded = json!([1])).expect_err("there are no cases").to_string();
    assert!(error.contains("cases.json"), "{error}");
}

#[test]
fn a_case_that_cannot_be_replayed_fails_alone_and_says_why() {
    let message = |change: fn(&mut Value)| {
        let report = accepted(change);
        assert!(!report.passes() && report.cases.iter().filter(|case| !case.passes()).count() == 1);
        report.cases[3].at.clone()
    };
    let missing = message(|recorded| {
        recorded["cases"][3].as_object_mut().expect("a case").remove("horizon");
    });
    assert!(missing.contains("cases[3] not_multiple") && missing.contains("horizon"), "{missing}");
    let unscaled = message(|recorded| recorded["cases"][3]["unit"] = json!([]));
    assert!(unscaled.contains("cases[3] not_multiple"), "{unscaled}");
    let empty = message(|recorded| recorded["cases"][3]["inputs"] = json!([[]]));
    assert!(empty.contains("case not_multiple: task 0: target 0 has 0 values"), "{empty}");
    let unsuited = message(|recorded| recorded["cases"][3]["forecast_config"]["max_context"] = json!(0));
    assert!(unsuited.contains("max_context is 0"), "{unsuited}");
    let absurd = message(|recorded| recorded["cases"][3]["forecast_config"]["max_context"] = json!(u64::MAX));
    assert!(absurd.contains("context"), "{absurd}");
}
