{
  "target_defaults": {
    "cflags_cc!": ["-std=gnu++17", "-Wno-unused-parameter"],
    "cflags_cc": ["-std=gnu++20", "-O3", "-Wall", "-Wextra", "-fvisibility=hidden"],
    "libraries": ["-lzstd"]
  },
  "targets": [
    {
      "target_name": "engine",
      "sources": [
        "<!@(cd engine && ls -1 *.cc | sed 's,^,engine/,')",
        "<!@(cd gate && ls -1 *.cc | sed 's,^,gate/,')",
        "<!@(cd disk && ls -1 *.cc | sed 's,^,disk/,')",
        "<!@(cd linux && ls -1 *.cc | sed 's,^,linux/,')",
        "<!@(cd binding && ls -1 *.cc | sed 's,^,binding/,')"
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=9", "NAPI_DISABLE_CPP_EXCEPTIONS"],
      "ldflags": ["-Wl,--exclude-libs,ALL"]
    },
    {
      "target_name": "romulus-bench",
      "type": "executable",
      "sources": [
        "<!@(cd engine && ls -1 *.cc | sed 's,^,engine/,')",
        "<!@(cd bench && ls -1 *.cc | sed 's,^,bench/,')"
      ]
    }
  ]
}
