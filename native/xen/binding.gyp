{
  "targets": [{
    "target_name": "xen",
    "sources": ["binding.cc", "cpu_policy.cc", "dirty_log.cc", "domain.cc", "guest_map.cc", "layout.cc", "mapped_copy.cc",
                "model_store.cc", "suspend.cc"],
    "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
    "defines": ["NAPI_VERSION=9", "NODE_ADDON_API_CPP_EXCEPTIONS", "_GNU_SOURCE"],
    # Xen's headers refuse strict C++; the last -std wins.
    "cflags_cc": ["-std=gnu++20", "-fexceptions", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-cast-function-type"],
    "cflags_cc!": ["-fno-exceptions"],
    "libraries": ["-lxenctrl", "-lxenguest", "-lxenforeignmemory", "-lxenevtchn", "-lxenstore"]
  }]
}
