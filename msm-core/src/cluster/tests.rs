//! Members come and go; who is known stays.

use super::*;

fn specs(urls: &[&str]) -> Vec<EndpointSpec> {
    urls.iter().map(|url| EndpointSpec::new(Endpoint::parse(url).expect(url))).collect()
}

fn cluster(urls: &[&str], now: Instant) -> Cluster {
    let spec = ClusterSpec { name: "c".into(), endpoints: specs(urls), options: ClusterOptions::default() };
    Cluster::new(&spec, 1, now)
}

fn host(cluster: &mut Cluster, now: Instant, tried: &[EndpointId]) -> Result<String, PickError> {
    cluster.pick(now, PickKey::default(), tried).map(|(_, endpoint)| endpoint.host.clone())
}

#[test]
fn endpoints_take_turns_and_what_was_tried_is_left_out() {
    let now = Instant::now();
    let mut own = cluster(&["rtsp://a", "rtsp://b"], now);
    let hosts: Vec<_> = (0..3).map(|_| host(&mut own, now, &[]).unwrap()).collect();
    assert_eq!(hosts, ["a", "b", "a"]);
    let ids: Vec<_> = own.endpoints().map(|(id, _)| id).collect();
    assert_eq!(host(&mut own, now, &ids[..1]), Ok("b".into()));
    assert_eq!(host(&mut own, now, &ids), Err(PickError::Tried));
    assert_eq!(host(&mut cluster(&[], now), now, &[]), Err(PickError::Empty));
}

#[test]
fn who_stays_is_known_and_who_goes_is_told() {
    let now = Instant::now();
    let mut own = cluster(&["rtsp://a", "rtsp://b"], now);
    let ids: Vec<_> = own.endpoints().map(|(id, _)| id).collect();
    own.begin(ids[0]);
    own.set_endpoints(now, &specs(&["rtsp://c", "rtsp://b", "rtsp://b"]));
    let after: Vec<_> = own.endpoints().map(|(id, spec)| (id, spec.endpoint.host.clone())).collect();
    assert_eq!(after.len(), 2);
    assert_eq!(after[1], (ids[1], "b".into()));
    assert!(!ids.contains(&after[0].0));
    let endpoint = Endpoint::parse("rtsp://a").unwrap();
    assert_eq!(own.poll_event(), Some(ClusterEvent::Removed { id: ids[0], endpoint }));
    assert_eq!(own.poll_event(), None);
    assert!(own.check(ids[0]).is_err() && own.check(ids[1]).is_ok());
    own.end(ids[0]);
}
