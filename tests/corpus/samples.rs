//! The configuration under mutation.

use crate::bodies;

const SAMPLES: [&str; 3] = [
    "listeners:\n  - {name: apps, address: '0.0.0.0:8554', ports: 9000, dscp: 34}\nworkers: 2\n",
    "routes:\n- match: {url: 'rtsp://*/n/{a}'}\n  rewrite: /l/{a}\n  backends: [{cluster: e}]\nclusters:\n  e: &e\n    \
     endpoints: ['rtsp://h']\n  f: {<<: *e, start: on_demand}\n",
    "admin: {address: off}\n\0MSM__ADMIN__READY=off\nMSM__ROUTES__0__MATCH__URL=/a\nMSM__LOG={level: warn}\n",
];

#[test]
fn samples_and_their_neighbours() {
    for sample in SAMPLES {
        bodies::config::run(sample.as_bytes());
        for at in 0..sample.len() {
            bodies::config::run(&sample.as_bytes()[..at]);
            for byte in *b"\n\r\t:{}[]-&*'\"#~0\0|>?%\xC3" {
                let mut changed = sample.as_bytes().to_vec();
                changed[at] = byte;
                bodies::config::run(&changed);
                changed.insert(at, b' ');
                bodies::config::run(&changed);
            }
        }
    }
}
