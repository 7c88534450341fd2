//! The mesh as C holds it.

use std::ffi::{CString, c_char};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use msm::{Builder, Mesh, Serving, blocking};

use crate::boundary::{DONE, Outcome, boundary};
use crate::handle::Handles;
use crate::pointer::{Out, text, text_or_none};
use crate::result::{Failure, msm_result, without_zeros};

/// A member of the mesh: streams are read, published and served through it. Media runs on threads of its own.
#[derive(Debug)]
pub struct msm_mesh(());

/// What is behind it.
pub(crate) struct Entry {
    pub(crate) mesh: blocking::Mesh,
    serving: OnceLock<Serving>,
    /// Who tells the program what happens.
    pub(crate) teller: Mutex<Option<JoinHandle<()>>>,
}

static MESHES: Handles<msm_mesh, Entry> = Handles::new(1, "mesh");

pub(crate) fn get(mesh: *const msm_mesh) -> Result<Arc<Entry>, Failure> {
    MESHES.get(mesh)
}

fn start(builder: Builder, out: Out<*mut msm_mesh>) -> Outcome {
    let mesh = blocking::Mesh::start(builder)?;
    out.write(MESHES.give(Entry { mesh, serving: OnceLock::new(), teller: Mutex::default() })?);
    DONE
}

/// Makes a mesh and starts its threads. `yaml` is a configuration as a file has it, `MSM__…` variables override its keys; with NULL there are no routes, and the
/// URLs that are opened are dialled. Nothing listens before msm_mesh_serve. Waits for what the configuration needs, such as an identity.
///
/// # Safety
/// `yaml` is NULL or a string; `mesh` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_mesh_start(yaml: *const c_char, mesh: *mut *mut msm_mesh) -> msm_result {
    boundary(|| {
        // SAFETY: the caller promises it.
        let (out, yaml) = unsafe { (Out::new(mesh, "mesh")?, text_or_none(yaml, "yaml")?) };
        let builder = Mesh::builder();
        start(if let Some(yaml) = yaml { builder.config_text(yaml)? } else { builder }, out)
    })
}

/// The same with a configuration file.
///
/// # Safety
/// `path` is a string; `mesh` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_mesh_start_file(path: *const c_char, mesh: *mut *mut msm_mesh) -> msm_result {
    boundary(|| {
        // SAFETY: the caller promises it.
        let (out, path) = unsafe { (Out::new(mesh, "mesh")?, text(path, "path")?) };
        start(Mesh::builder().config_file(path)?, out)
    })
}

/// Binds the configured listeners and serves them, once.
#[unsafe(no_mangle)]
pub extern "C" fn msm_mesh_serve(mesh: *const msm_mesh) -> msm_result {
    boundary(|| {
        let entry = get(mesh)?;
        let mut begun = false;
        if entry.serving.get().is_none() {
            let serving = entry.mesh.serve()?;
            begun = entry.serving.set(serving).is_ok();
        }
        let again = || Failure::new(msm_result::Already, "the mesh serves already");
        begun.then_some(msm_result::Ok).ok_or_else(again)
    })
}

/// Where a listener listens, such as `127.0.0.1:8554`, in the order of the configuration; ended by a zero, in `size` bytes (64 are enough).
///
/// \return MSM_RESULT_ENDED past the last one, and before msm_mesh_serve.
///
/// # Safety
/// `address` has room for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_mesh_listener(
    mesh: *const msm_mesh,
    index: usize,
    address: *mut c_char,
    size: usize,
) -> msm_result {
    boundary(|| {
        let entry = get(mesh)?;
        // SAFETY: the caller promises it, of the first byte as of all.
        let out = unsafe { Out::new(address, "address")? };
        let addresses = entry.serving.get().map(Serving::addresses).unwrap_or_default();
        let Some(own) = addresses.get(index) else { return Ok(msm_result::Ended) };
        let own = without_zeros(&own.to_string());
        out.write_all(own.as_bytes_with_nul(), size)?;
        DONE
    })
}

/// Puts another configuration file in the place of the one in force, as a whole or not at all. What it leaves as it was does not notice.
///
/// # Safety
/// `path` is a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_mesh_reload(mesh: *const msm_mesh, path: *const c_char) -> msm_result {
    boundary(|| {
        let entry = get(mesh)?;
        // SAFETY: the caller promises it.
        let path = unsafe { text(path, "path")? };
        entry.mesh.reload_file(path, msm::config::environment())?;
        DONE
    })
}

/// What runs now, as JSON: listeners, streams, readers, hops, clusters. To be freed with msm_string_free.
///
/// # Safety
/// `json` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_mesh_status(mesh: *const msm_mesh, json: *mut *mut c_char) -> msm_result {
    boundary(|| {
        let entry = get(mesh)?;
        // SAFETY: the caller promises it.
        let out = unsafe { Out::new(json, "json")? };
        let status = serde_json::to_string(&entry.mesh.status()?);
        let status = status.map_err(|error| Failure::new(msm_result::Other, error.to_string()))?;
        out.write(without_zeros(&status).into_raw());
        DONE
    })
}

/// The metrics in OpenMetrics text, counted up to now. To be freed with msm_string_free.
///
/// # Safety
/// `metrics` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_mesh_metrics(mesh: *const msm_mesh, metrics: *mut *mut c_char) -> msm_result {
    boundary(|| {
        let entry = get(mesh)?;
        // SAFETY: the caller promises it.
        let out = unsafe { Out::new(metrics, "metrics")? };
        out.write(without_zeros(&entry.mesh.metrics_text()?).into_raw());
        DONE
    })
}

/// Frees a string that a function gave, where it says so. NULL is nothing to free.
///
/// # Safety
/// `string` is NULL, or was got from such a function and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msm_string_free(string: *mut c_char) {
    boundary(|| {
        if !string.is_null() {
            // SAFETY: the caller promises that `into_raw` has given it.
            drop(unsafe { CString::from_raw(string) });
        }
        DONE
    });
}

/// Ends a mesh: sessions that are there get `drain_ms` to end by themselves, new ones are refused; then readers and publishers are told, and the threads stop. The handle
/// stays valid. Waits until all that is done.
#[unsafe(no_mangle)]
pub extern "C" fn msm_mesh_shutdown(mesh: *const msm_mesh, drain_ms: u32) -> msm_result {
    boundary(|| {
        get(mesh)?.mesh.shutdown(Duration::from_millis(drain_ms.into()));
        DONE
    })
}

/// Ends a mesh at once, and frees it. Readers and publishers of it are over, which calls that wait for them return with; their handles are to be freed as ever. When
/// this returns, nobody is told events of it any more, but where it is called by who is being told: so it waits for a callback that is running, and is not to be called with a
/// lock held that the callback takes.
#[unsafe(no_mangle)]
pub extern "C" fn msm_mesh_free(mesh: *mut msm_mesh) -> msm_result {
    boundary(|| {
        let entry = MESHES.free(mesh)?;
        entry.mesh.shutdown(Duration::ZERO);
        let teller = entry.teller.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(teller) = teller.filter(|teller| teller.thread().id() != thread::current().id()) {
            // It does not panic: what it calls is C.
            let _ = teller.join();
        }
        DONE
    })
}
