import { defineConfig } from "vite";

// The page and its worker. vite.service.ts builds the service worker, which needs a fixed name.
export default defineConfig({
  base: "./",
  publicDir: false,
  build: {
    outDir: "../build/page",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: false,
    license: false,
  },
  worker: { format: "iife" },
});
