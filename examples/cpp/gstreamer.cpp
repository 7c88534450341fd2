// Plays a mesh stream in a GStreamer pipeline, by appsrc: gstreamer URL [SINK]
//
//   c++ -std=c++17 gstreamer.cpp $(pkg-config --cflags --libs msm gstreamer-app-1.0 gstreamer-sdp-1.0) -o gstreamer
//
// The first video track is decoded by whatever GStreamer has for it. SINK is an element, or several with their properties; the default shows a window.
#include <cstdio>
#include <string>
#include <thread>

#include <gst/app/gstappsrc.h>
#include <gst/gst.h>
#include <gst/sdp/gstsdpmessage.h>
#include <msm.hpp>

namespace {

int failed(const char *what) {
  std::fprintf(stderr, "%s: %s\n", what, msm::last_error());
  return 1;
}

// What the track's packets are, as GStreamer's depayloaders want to know it.
GstCaps *caps_of(const char *sdp, std::size_t track) {
  GstSDPMessage *message = nullptr;
  if (gst_sdp_message_new_from_text(sdp, &message) != GST_SDP_OK) {
    return nullptr;
  }
  GstCaps *caps = nullptr;
  if (track < gst_sdp_message_medias_len(message)) {
    const GstSDPMedia *media = gst_sdp_message_get_media(message, static_cast<guint>(track));
    caps = gst_sdp_media_get_caps_from_media(media, std::atoi(gst_sdp_media_get_format(media, 0)));
    if (caps != nullptr) {
      gst_structure_set_name(gst_caps_get_structure(caps, 0), "application/x-rtp");
    }
  }
  gst_sdp_message_free(message);
  return caps;
}

// Gives each packet of the track to the pipeline, until the stream or the pipeline is over.
void feed(const msm::reader &reader, std::size_t track, GstAppSrc *source) {
  msm::burst burst;
  while (msm::ok(reader.recv(burst))) {
    if (burst.track() != track) {
      continue;
    }
    GstBufferList *list = gst_buffer_list_new();
    for (const msm_packet &packet : burst) {
      gst_buffer_list_add(list, gst_buffer_new_memdup(packet.raw, packet.raw_length));
    }
    if (gst_app_src_push_buffer_list(source, list) != GST_FLOW_OK) {
      return;
    }
  }
  gst_app_src_end_of_stream(source);
}

} // namespace

int main(int argc, char **argv) {
  gst_init(&argc, &argv);
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s URL [SINK]\n", argv[0]);
    return 2;
  }
  msm::mesh mesh;
  msm::reader reader;
  if (!msm::ok(msm::mesh::start(nullptr, mesh)) || !msm::ok(mesh.open(argv[1], reader))) {
    return failed(argv[1]);
  }
  std::size_t track = 0;
  msm_track about{};
  while (msm::ok(reader.track(track, about)) && std::string(about.media) != "video") {
    track++;
  }
  const char *sdp = nullptr;
  GstCaps *caps = msm::ok(reader.sdp(sdp)) ? caps_of(sdp, track) : nullptr;
  if (caps == nullptr) {
    std::fprintf(stderr, "%s has no video\n", argv[1]);
    return 1;
  }

  const std::string sink = argc > 2 ? argv[2] : "videoconvert ! autovideosink";
  const std::string description =
      "appsrc name=mesh is-live=true do-timestamp=true format=time ! rtpjitterbuffer latency=100 ! decodebin ! " + sink;
  GError *error = nullptr;
  GstElement *pipeline = gst_parse_launch(description.c_str(), &error);
  if (pipeline == nullptr || error != nullptr) {
    std::fprintf(stderr, "%s\n", error != nullptr ? error->message : "no pipeline");
    return 1;
  }
  GstAppSrc *source = GST_APP_SRC(gst_bin_get_by_name(GST_BIN(pipeline), "mesh"));
  gst_app_src_set_caps(source, caps);
  gst_caps_unref(caps);
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  std::thread feeder(feed, std::cref(reader), track, source);

  GstBus *bus = gst_element_get_bus(pipeline);
  const auto ends = static_cast<GstMessageType>(GST_MESSAGE_ERROR | GST_MESSAGE_EOS);
  GstMessage *message = gst_bus_timed_pop_filtered(bus, GST_CLOCK_TIME_NONE, ends);
  const bool is_error = GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR;
  if (is_error) {
    gst_message_parse_error(message, &error, nullptr);
    std::fprintf(stderr, "%s\n", error->message);
    g_error_free(error);
  }
  gst_message_unref(message);
  gst_object_unref(bus);
  // The pipeline refuses what the feeder gives it from now on; and the mesh ends what it waits for.
  gst_element_set_state(pipeline, GST_STATE_NULL);
  static_cast<void>(mesh.shutdown());
  feeder.join();
  gst_object_unref(source);
  gst_object_unref(pipeline);
  return is_error ? 1 : 0;
}
