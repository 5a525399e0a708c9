import { defineConfig } from "vite";

export default defineConfig({
  publicDir: false,
  build: {
    outDir: "../build/page",
    emptyOutDir: false,
    target: "es2022",
    lib: { entry: "src/service.ts", formats: ["iife"], name: "service", fileName: () => "service.js" },
  },
});
