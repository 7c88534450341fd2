//! Patterns and templates under mutation.

use proptest::prelude::*;

#[allow(unreachable_pub)] // The fuzz targets call them from outside.
#[path = "../../fuzz/bodies"]
mod bodies {
    pub mod pattern;
}

const SAMPLES: [&str; 12] = [
    "rtsp://*/news/{feed}\n/news/eu\nh\n/live/{feed}\na=1",
    "/{a}/x/{r...}\n/1/x/2//3/\n[::1]\n/{r}?p={a}&q={r}\n",
    "rtsp://*.studio.example:554/c%61m\n/%63am/\na.b.studio.example.\n/cam?x\nfoo bar",
    "*://cam.*.x/{r...}\n/%2e%2e/a\ncam.y.x\n/{r...}\n",
    "*://[::1]:554\n\n::1\n/\n#",
    "/{r...}\n/a/..\nh\n/{r}\n",
    "rtsp://h:8554\n/\nh\n/\n",
    // Trailing and doubled separators, and a pattern's path that looks like a URL: found by random search.
    "rtsp://*//\n//\nh\n/\n",
    "/{r...}/\n/\nh\n/{r}/x\n",
    "//{r...}\n//\nh\n//{r}\n",
    "/a:///{r...}\n/a:///b\nh\n/{r}\n",
    "/%zz/{a}\n/%ZZ/%\nh\n/x{a}y\n%0d%0a",
];

#[test]
fn samples_and_their_neighbours() {
    for sample in SAMPLES {
        bodies::pattern::run(sample.as_bytes());
        for at in 0..sample.len() {
            bodies::pattern::run(&sample.as_bytes()[..at]);
            for byte in *b"\n\r/.%?#{}*:@[]\0 ~\xC3" {
                let mut changed = sample.as_bytes().to_vec();
                changed[at] = byte;
                bodies::pattern::run(&changed);
                changed.insert(at, b'.');
                bodies::pattern::run(&changed);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_lines(
        pattern in "((rtsp|\\*)://(\\*|h|\\*\\.h)(:554)?)?(/([a.%2Fe]{0,3}|\\{[a-c](\\.\\.\\.)?\\})){0,4}",
        path in "(/[a.%2Ee/ ?#\r]{0,4}){0,5}",
        template in "(/([a.%2]{0,2}|x?\\{[a-c]\\}y?)){1,3}(\\?[a={}&]{0,6})?",
        query in "\\PC{0,10}",
    ) {
        bodies::pattern::run(format!("{pattern}\n{path}\nh\n{template}\n{query}").as_bytes());
    }
}
