use super::*;
use std::time::Instant;

fn problems(yaml: &str) -> Vec<String> {
    let errors = Config::from_yaml(yaml, "msm.yaml", std::iter::empty()).expect_err("problems");
    errors.to_string().lines().map(str::to_owned).collect()
}

/// A list, or a map, of so many.
fn many(key: &str, entry: impl Fn(usize) -> String, count: usize) -> String {
    let entries: String = (0..count).map(|at| format!("  {}\n", entry(at))).collect();
    format!("{key}:\n{entries}")
}

#[test]
fn there_is_an_end_to_what_a_file_has() {
    let list = |_| "- {}".to_owned();
    for (text, most, key) in [
        (many("routes", list, MAX_ROUTES + 1), MAX_ROUTES, "routes"),
        (many("listeners", list, MAX_LISTENERS + 1), MAX_LISTENERS, "listeners"),
        (many("clusters", |at| format!("c{at}: {{}}"), MAX_CLUSTERS + 1), MAX_CLUSTERS, "clusters"),
    ] {
        let wanted = format!(
            "msm.yaml:1: {key}: has {} entries, and {most} are the most; placeholders and wildcards stand for many",
            most + 1
        );
        assert_eq!(problems(&text), [wanted]);
    }
}

#[test]
fn something_wrong_with_each_of_many_routes_takes_no_time() {
    let began = Instant::now();
    let found = problems(&many("routes", |_| "- {backends: [{cluster: nobody}]}".to_owned(), 20_000));
    // Found by counting from the beginning each time, these places would take minutes in this build.
    assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
    assert_eq!(found.len(), 101);
    let place = "routes[0].backends[0].cluster: there is no cluster `nobody`; add it under `clusters`";
    assert_eq!(found[0], format!("msm.yaml:2: {place}"));
    assert!(found[2].starts_with("msm.yaml:3: routes[1].match.url: is never reached"), "{found:?}");
    assert_eq!(found[100], "msm.yaml: and 39899 more");
}

#[test]
fn places_in_long_lists_are_those_of_the_document() {
    for count in [10, 40] {
        let route = |at: usize| match at {
            3 => "- 5".to_owned(),
            _ if at + 1 == count => "- {name: z, match: {url: nowhere}}".to_owned(),
            _ => format!("- {{name: r{at}, match: {{url: \"/{at}\"}}}}"),
        };
        let found = problems(&many("routes", route, count));
        let last = count - 1;
        assert!(found[0].starts_with("msm.yaml:5: routes[3]"), "{found:?}");
        assert!(
            found[1].starts_with(&format!("msm.yaml:{}: routes[{last}].match.url: ", count + 1)),
            "{found:?}"
        );
        assert_eq!(found.len(), 2, "{found:?}");
    }
}

#[test]
fn clusters_among_many_are_found_by_name() {
    let found = problems(&many("clusters", |at| format!("c{at}: {{endpoints: ['rtsp://h', 'x{at}']}}"), 40));
    assert_eq!(found.len(), 40);
    assert!(found[39].starts_with("msm.yaml:41: clusters.c39.endpoints[1]: "), "{found:?}");
}
