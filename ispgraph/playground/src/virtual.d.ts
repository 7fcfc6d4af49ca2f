declare module "virtual:operations" {
  const operations: import("./collection").Operation[];
  export default operations;
}
